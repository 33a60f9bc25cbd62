/* What the files of this folder share. */
#ifndef NESTOR_IDENTITY_PRIV_H
#define NESTOR_IDENTITY_PRIV_H

#include <stddef.h>

#include "nestor/error.h"

#define DIGEST_LEN 32

/* n bytes as 2n lower-case hex digits and a NUL. */
void hex_encode(const unsigned char *bytes, size_t n, char *out);

/* Any thread. Ends the program where there is no SHA-256 to be had. */
void sha256(const void *data, size_t len, unsigned char out[DIGEST_LEN]);

/* n random bytes of the kernel. ERR_IO. */
int random_fill(void *bytes, size_t n, struct error *err) NESTOR_CHECKED;

/* Fails with the code, and libcrypto's number in `native`; leaves its error queue empty. */
int crypto_error(struct error *err, enum error_code code, const char *subject, const char *what);

#endif
