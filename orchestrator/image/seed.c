#include <string.h>

#include "image/fat.h"
#include "image/user_data.h"
#include "nestor/image.h"

/* Only what was written: wiping all that was reserved would make it take memory. */
void seed_wipe(struct buffer *b) {
    if (b->data)
        explicit_bzero(b->data, b->len);
    buffer_free(b);
}
#define cleanup_secret __attribute__((cleanup(seed_wipe)))

static void meta_data_put(const struct seed *seed, struct buffer *out) {
    buffer_puts(out, "instance-id: ");
    user_data_put_scalar(out, seed->instance_id);
    buffer_puts(out, "\nlocal-hostname: ");
    user_data_put_scalar(out, seed->hostname);
    buffer_putc(out, '\n');
}

int seed_texts(const struct seed *seed, struct buffer *ret_meta_data, struct buffer *ret_user_data, struct error *err) {
    if (user_data_check(seed, err))
        return -1;
    /* All at once: a buffer that grows leaves copies of the host key behind in freed memory. */
    buffer_reserve(ret_user_data, 8191 + (seed->extra_user_data ? 2 * strlen(seed->extra_user_data) : 0));
    meta_data_put(seed, ret_meta_data);
    user_data_put(seed, ret_user_data);
    return 0;
}

int seed_build(const struct seed *seed, struct buffer *ret, struct error *err) {
    cleanup_buffer struct buffer meta_data = {0};
    cleanup_secret struct buffer user_data = {0};
    if (seed_texts(seed, &meta_data, &user_data, err))
        return -1;
    const struct fat_file files[] = {
        {"meta-data", meta_data.data, meta_data.len},
        {"user-data", user_data.data, user_data.len},
    };
    return fat_write("CIDATA", files, 2, ret, err);
}
