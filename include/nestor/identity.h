/* Who is who in a lab. Everything is derived: from the lab's id come the names, UUIDs and MAC addresses of its
 * machines, from the lab's secret come its SSH keys. So nothing has to be stored per machine, a repeated `up`
 * makes the same identities, and a clone that lost its state is still recognised.
 */
#ifndef NESTOR_IDENTITY_H
#define NESTOR_IDENTITY_H

#include <stdint.h>

#include "nestor/buffer.h"
#include "nestor/context.h"
#include "nestor/error.h"

#define LAB_ID_LEN 16 /* hex digits */

/* 16 random hex digits into id[17]. ERR_IO if the kernel has no randomness to give. */
int lab_id_new(char id[LAB_ID_LEN + 1], struct error *err) NESTOR_CHECKED;

/* RFC 9562 version 8 UUID from SHA-256(lab id, path), into out[37]. */
void machine_uuid(const char *lab_id, const char *path, char out[37]);
/* A locally administered unicast MAC ("x2", "x6", "xa" or "xe") with 46 bits of SHA-256(lab id, path), out[18]. */
void machine_mac(const char *lab_id, const char *path, char out[18]);
/* The name it gets on its hypervisor: the path with "." for "/", and the first 8 digits of the lab id, so that
 * equal lab names of two users never meet: "quickstart.kvm1.web1-1a2b3c4d". Caller frees. */
char *machine_native_name(const char *lab_id, const char *path);

#define SECRET_LEN 32
/* The lab's secret. Zeroed by secret_wipe; never printed, never in argv, environment, database or errors. */
struct secret {
    unsigned char bytes[SECRET_LEN];
};
int secret_new(struct secret *s, struct error *err) NESTOR_CHECKED;
/* Kept in `path` with mode 0600; load refuses a file others can read (ERR_IO, mend: chmod 600). */
int secret_save(const struct secret *s, const char *path, struct error *err) NESTOR_CHECKED;
int secret_load(struct secret *s, const char *path, struct error *err) NESTOR_CHECKED;
void secret_wipe(struct secret *s);

/* An Ed25519 key pair in OpenSSH's formats. */
struct keypair {
    char *private_pem; /* "-----BEGIN OPENSSH PRIVATE KEY-----...", wiped by keypair_free */
    char *public_line; /* "ssh-ed25519 AAAA... comment" */
};
/* Derived with HKDF-SHA256 from the secret and the purpose ("user", or "host:" and a machine's path): the same
 * again for the same input. `comment` ends up in public_line. Crypto is OpenSSL's libcrypto. */
int keypair_derive(const struct secret *s, const char *purpose, const char *comment, struct keypair *ret,
                   struct error *err) NESTOR_CHECKED;
void keypair_free(struct keypair *k); /* NULL-safe, half-built-safe */

/* SHA-256 of a file as 64 hex digits into out[65]; `progress` as in transport.h, may be NULL. Ends soon after ctx does
 * (ERR_CANCELLED, ERR_TIMEOUT about the path); NULL: with the file. */
int sha256_file(const char *path, char out[65], void (*progress)(void *, uint64_t, uint64_t), void *data,
                const struct context *ctx, struct error *err) NESTOR_CHECKED;
void sha256_hex(const void *data, size_t len, char out[65]);

#endif
