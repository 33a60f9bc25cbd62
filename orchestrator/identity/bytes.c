#include "identity/identity_priv.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include <openssl/err.h>

void hex_encode(const unsigned char *bytes, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

int random_fill(void *bytes, size_t n, struct error *err) {
    unsigned char *at = bytes;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            /* The errno would choose the code (ENOSYS and the like); the contract is ERR_IO. */
            int errnum = errno;
            error_set(err, ERR_IO, NULL, "the kernel gives no random bytes (getrandom, errno %d)", errnum);
            return error_mend(err, "nestor needs Linux 3.17 or later, and a sandbox must allow getrandom");
        }
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

int crypto_error(struct error *err, enum error_code code, const char *subject, const char *what) {
    unsigned long number = ERR_get_error();
    const char *reason = number ? ERR_reason_error_string(number) : NULL;
    error_set(err, code, subject, "%s: %s", what, reason ? reason : "libcrypto gives no reason");
    if (err)
        err->native = (long)number;
    ERR_clear_error();
    return -1;
}
