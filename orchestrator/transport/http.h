/* http_download with other limits than the usual ones. */
#ifndef TRANSPORT_HTTP_H
#define TRANSPORT_HTTP_H

#include "nestor/transport.h"

struct http_limits {
    uint64_t max_bytes; /* larger is refused: the disk is not a server's to fill */
    int stall_ms;       /* so long without a byte is the end */
};
#define HTTP_LIMITS_DEFAULT ((struct http_limits){.max_bytes = (uint64_t)64 << 30, .stall_ms = 60000})

int http_download_within(struct http_limits limits, const char *url, const char *path, const char *expected_sha256,
                         progress_fn progress, void *progress_data, const struct context *ctx,
                         struct error *err) NESTOR_CHECKED;

#endif
