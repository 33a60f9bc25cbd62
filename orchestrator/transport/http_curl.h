/* What downloads (http.c) and HTTPS to a server (https.c) share about libcurl. */
#ifndef TRANSPORT_HTTP_CURL_H
#define TRANSPORT_HTTP_CURL_H

#include <curl/curl.h>

#include "nestor/error.h"

struct http_failure {
    CURLcode curl;
    enum error_code code;
    bool retry;
    const char *mend; /* NULL: the caller knows better */
};

/* Before the first use of libcurl, from any thread, any number of times. */
void http_curl_init(void);

/* What a result means: from the caller's own n rows, else from those that are the same for everybody. NULL: unknown. */
const struct http_failure *http_failure_find(const struct http_failure *own, size_t n, CURLcode rc);

#endif
