/* The pinned host key, and what a server offers. Pure functions: no I/O, hostile input. */
#ifndef TRANSPORT_SSH_HOSTKEY_H
#define TRANSPORT_SSH_HOSTKEY_H

#include <stdbool.h>
#include <stddef.h>

#include "nestor/error.h"

#define HOSTKEY_BLOB_MAX 2048

struct hostkey {
    char type[32]; /* "ssh-ed25519" */
    unsigned char blob[HOSTKEY_BLOB_MAX];
    size_t blob_len;
};

/* From "ssh-ed25519 AAAA... comment". ERR_HOST_KEY_UNKNOWN when line is NULL or no public key. */
int hostkey_parse(const char *line, struct hostkey *ret, const char *subject, struct error *err) NESTOR_CHECKED;
bool hostkey_equal(const struct hostkey *pinned, const char *blob, size_t len);

/* From the first bytes a server sent: banner, then its SSH_MSG_KEXINIT, still unencrypted (RFC 4253, 4.2 and 7.1).
 * False only when the list of host key algorithms is there and `type` is not in it. */
bool hostkey_may_be_offered(const char *head, size_t len, const char *type);

#endif
