#include "image/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "image/files.h"
#include "nestor/buffer.h"

#define QCOW2_MAGIC "QFI\xfb"

/* Byte offsets in the header and bits of incompatible_features: docs/interop/qcow2.txt in QEMU's sources. */
enum {
    AT_VERSION = 4,
    AT_BACKING_FILE_OFFSET = 8,
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_CRYPT_METHOD = 32,
    AT_L1_SIZE = 36,
    AT_L1_TABLE_OFFSET = 40,
    AT_INCOMPATIBLE = 72,
    V2_HEADER = 72,
    V3_HEADER = 104,
    CORRUPT = 1 << 1,
    EXTERNAL_DATA_FILE = 1 << 2,
    KNOWN_INCOMPATIBLE = 0x1f, /* dirty, corrupt, external data file, compression type, extended L2 entries */
};

static uint64_t big_endian(const uint8_t *at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static bool is_qcow2(const uint8_t *header, size_t len) { return len >= 4 && memcmp(header, QCOW2_MAGIC, 4) == 0; }

static int refuse(const char *path, const char *why, const char *mend, struct error *err) {
    error_set(err, ERR_IMAGE, path, "%s", why);
    return mend ? error_mend(err, "%s", mend) : -1;
}

static int check_features(const char *path, uint64_t features, struct error *err) {
    if (features & EXTERNAL_DATA_FILE)
        return refuse(path, "the image keeps its data in another file",
                      "make one file of it: qemu-img convert -O qcow2 OLD NEW", err);
    if (features & CORRUPT)
        return refuse(path, "the image is marked as corrupt", "repair a copy of it with 'qemu-img check -r all'", err);
    if (features & ~(uint64_t)KNOWN_INCOMPATIBLE)
        return refuse(path, "the image uses qcow2 features nestor does not know", NULL, err);
    return 0;
}

/* A cut download has its header but not what the header points to. */
static int check_tables(const char *path, const uint8_t *header, uint64_t file_size, struct error *err) {
    uint64_t l1_offset = big_endian(header + AT_L1_TABLE_OFFSET, 8), l1_size = big_endian(header + AT_L1_SIZE, 4) * 8;
    if (l1_offset > file_size || l1_size > file_size - l1_offset)
        return refuse(path, "the image is cut: its L1 table lies behind the end of the file", "get the file again",
                      err);
    return 0;
}

int qcow2_check(const char *path, const uint8_t *header, size_t len, uint64_t file_size, uint64_t *ret_virtual_size,
                struct error *err) {
    if (!is_qcow2(header, len))
        return refuse(path, "the file is not a qcow2 image", "set the template's 'format' to what the file is", err);
    uint64_t version = len >= V2_HEADER ? big_endian(header + AT_VERSION, 4) : 2;
    if (len < (version == 3 ? V3_HEADER : V2_HEADER))
        return refuse(path, "the image is cut: it ends within its header", "get the file again", err);
    if (version != 2 && version != 3)
        return error_set(err, ERR_IMAGE, path, "qcow2 version %llu is not supported, only 2 and 3",
                         (unsigned long long)version);
    if (big_endian(header + AT_BACKING_FILE_OFFSET, 8))
        return refuse(path, "the image has a backing file", "make one file of it: qemu-img convert -O qcow2 OLD NEW",
                      err);
    if (version == 3 && check_features(path, big_endian(header + AT_INCOMPATIBLE, 8), err))
        return -1;
    if (big_endian(header + AT_CRYPT_METHOD, 4))
        return refuse(path, "the image is encrypted", NULL, err);
    uint64_t cluster_bits = big_endian(header + AT_CLUSTER_BITS, 4);
    uint64_t size = big_endian(header + AT_SIZE, 8);
    if (cluster_bits < 9 || cluster_bits > 21)
        return error_set(err, ERR_IMAGE, path, "a cluster size of 2^%llu bytes is not valid",
                         (unsigned long long)cluster_bits);
    if (size == 0 || size > INT64_MAX)
        return error_set(err, ERR_IMAGE, path, "a disk size of %llu bytes is not valid", (unsigned long long)size);
    if (check_tables(path, header, file_size, err))
        return -1;
    *ret_virtual_size = size;
    return 0;
}

static int raw_check(const char *path, const uint8_t *header, size_t len, uint64_t file_size,
                     uint64_t *ret_virtual_size, struct error *err) {
    if (is_qcow2(header, len))
        return refuse(path, "the file is a qcow2 image, but the template says raw", "set 'format: qcow2'", err);
    if (file_size == 0)
        return refuse(path, "the file is empty", NULL, err);
    *ret_virtual_size = file_size;
    return 0;
}

int disk_probe(const char *path, const char *format, uint64_t *ret_virtual_size, struct error *err) {
    struct stamp stamp;
    if (stamp_of(path, &stamp, err))
        return -1;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t header[QCOW2_HEADER_MAX];
    ssize_t len = fd < 0 ? -1 : pread(fd, header, sizeof header, 0);
    if (len < 0)
        return error_set_errno(err, errno, path, "cannot read the image");
    if (strcmp(format, "qcow2") == 0)
        return qcow2_check(path, header, (size_t)len, stamp.size, ret_virtual_size, err);
    if (strcmp(format, "raw") == 0)
        return raw_check(path, header, (size_t)len, stamp.size, ret_virtual_size, err);
    return error_set(err, ERR_UNSUPPORTED, path, "the format '%s' is not supported, only qcow2 and raw", format);
}
