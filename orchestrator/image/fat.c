#include "image/fat.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum {
    SECTOR = 512,
    FAT_COPIES = 2,
    ROOT_ENTRIES = 64,
    ENTRY = 32,
    ROOT_SECTORS = ROOT_ENTRIES * ENTRY / SECTOR,
    FIRST_CLUSTER = 2, /* the FAT's entries 0 and 1 are not clusters */
    CLUSTERS_MIN = 57, /* with everything around them: 32 KiB; it may have to travel into a machine that is emulated */
    CLUSTERS_MAX = 4084, /* one more, and a reader takes the volume for FAT16 */
    END_OF_CHAIN = 0xfff,
    MEDIA_FIXED = 0xf8,
    ATTR_VOLUME = 0x08,
    ATTR_ARCHIVE = 0x20,
    ATTR_LONG_NAME = 0x0f,
    DATE_1980_01_01 = 0x21,
    SHORT_NAME = 11,
    LONG_CHARS = 13, /* per entry */
    LONG_LAST = 0x40,
};

struct volume {
    uint8_t *fat, *data;
    uint32_t fat_sectors;
    uint32_t next_cluster;
    uint8_t *next_entry;
};

static void put(uint8_t *at, unsigned size, uint32_t value) {
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t divide_up(size_t n, size_t by) { return (uint32_t)((n + by - 1) / by); }

static void put_padded(uint8_t *at, size_t width, const char *text) {
    memset(at, ' ', width);
    memcpy(at, text, strnlen(text, width));
}

static void put_boot_sector(uint8_t *b, const char *label, uint32_t sectors, uint32_t fat_sectors) {
    const struct {
        uint16_t at, size;
        uint32_t value;
    } fields[] = {
        {0, 3, 0x903ceb},      /* a jump over the parameters: readers check that it is there */
        {11, 2, SECTOR},       /* bytes per sector */
        {13, 1, 1},            /* sectors per cluster */
        {14, 2, 1},            /* sectors before the first FAT */
        {16, 1, FAT_COPIES},   /* number of FATs */
        {17, 2, ROOT_ENTRIES}, /* root directory entries */
        {19, 2, sectors},      /* in all; at most 4113, so the 16-bit field is enough */
        {21, 1, MEDIA_FIXED},  /* media */
        {22, 2, fat_sectors},  /* sectors per FAT */
        {24, 2, 32},           /* sectors per track: unused, but not zero */
        {26, 2, 2},            /* heads: the same */
        {36, 1, 0x80},         /* drive number of a fixed disk */
        {38, 1, 0x29},         /* serial, label and type follow */
        {39, 4, 0x4e455354},   /* serial: always the same */
        {510, 2, 0xaa55},      /* signature */
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        put(b + fields[i].at, fields[i].size, fields[i].value);
    put_padded(b + 3, 8, "nestor");
    put_padded(b + 43, SHORT_NAME, label);
    put_padded(b + 54, 8, "FAT12");
}

/* Twelve bits an entry: two entries share three bytes. */
static void put_fat_entry(uint8_t *fat, uint32_t cluster, uint32_t value) {
    uint8_t *at = fat + cluster + cluster / 2;
    if (cluster % 2) {
        at[0] = (uint8_t)((at[0] & 0x0f) | value << 4);
        at[1] = (uint8_t)(value >> 4);
    } else {
        at[0] = (uint8_t)value;
        at[1] = (uint8_t)((at[1] & 0xf0) | value >> 8);
    }
}

static void put_entry(struct volume *v, const char name[SHORT_NAME], uint8_t attribute, uint32_t cluster, size_t len) {
    uint8_t *e = v->next_entry;
    memcpy(e, name, SHORT_NAME);
    e[11] = attribute;
    put(e + 16, 2, DATE_1980_01_01); /* created */
    put(e + 18, 2, DATE_1980_01_01); /* read */
    put(e + 24, 2, DATE_1980_01_01); /* written */
    put(e + 26, 2, cluster);
    put(e + 28, 4, (uint32_t)len);
    v->next_entry += ENTRY;
}

/* "meta-data", the first file, becomes "META-D~1". */
static void short_name(const char *name, size_t index, char out[SHORT_NAME]) {
    memset(out, ' ', SHORT_NAME);
    size_t n = 0;
    for (; n < 6 && name[n]; n++)
        out[n] = (char)toupper((unsigned char)name[n]);
    out[n] = '~';
    out[n + 1] = (char)('1' + index);
}

static uint8_t short_name_checksum(const char name[SHORT_NAME]) {
    uint8_t sum = 0;
    for (int i = 0; i < SHORT_NAME; i++)
        sum = (uint8_t)((sum >> 1 | sum << 7) + (uint8_t)name[i]);
    return sum;
}

/* Entry number `order` (from 1) holds characters 13 * (order - 1) and on; the last one stands first. */
static void put_long_entry(struct volume *v, const char *name, size_t order, bool last, uint8_t checksum) {
    static const uint8_t places[LONG_CHARS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    uint8_t *e = v->next_entry;
    size_t len = strlen(name), first = (order - 1) * LONG_CHARS;
    e[0] = (uint8_t)(order | (last ? LONG_LAST : 0));
    e[11] = ATTR_LONG_NAME;
    e[13] = checksum;
    for (size_t i = 0; i < LONG_CHARS; i++) {
        size_t at = first + i;
        uint32_t unit = at < len ? (unsigned char)name[at] : at == len ? 0 : 0xffff;
        put(e + places[i], 2, unit);
    }
    v->next_entry += ENTRY;
}

/* Claims clusters one after the other; returns the first, 0 for an empty file. */
static uint32_t put_data(struct volume *v, const void *data, size_t len) {
    uint32_t count = divide_up(len, SECTOR), first = v->next_cluster;
    if (!count)
        return 0;
    memcpy(v->data + (size_t)(first - FIRST_CLUSTER) * SECTOR, data, len);
    for (uint32_t i = 0; i < count; i++)
        put_fat_entry(v->fat, first + i, i + 1 < count ? first + i + 1 : END_OF_CHAIN);
    v->next_cluster += count;
    return first;
}

static void put_file(struct volume *v, const struct fat_file *file, size_t index) {
    char alias[SHORT_NAME];
    short_name(file->name, index, alias);
    uint8_t checksum = short_name_checksum(alias);
    size_t entries = divide_up(strlen(file->name), LONG_CHARS);
    for (size_t order = entries; order > 0; order--)
        put_long_entry(v, file->name, order, order == entries, checksum);
    put_entry(v, alias, ATTR_ARCHIVE, put_data(v, file->data, file->len), file->len);
}

static void put_volume(struct volume *v, const char *label, const struct fat_file *files, size_t n) {
    char name[SHORT_NAME];
    put_padded((uint8_t *)name, sizeof name, label);
    put_entry(v, name, ATTR_VOLUME, 0, 0);
    put_fat_entry(v->fat, 0, 0xf00 | MEDIA_FIXED);
    put_fat_entry(v->fat, 1, END_OF_CHAIN);
    for (size_t i = 0; i < n; i++)
        put_file(v, &files[i], i);
    memcpy(v->fat + (size_t)v->fat_sectors * SECTOR, v->fat, (size_t)v->fat_sectors * SECTOR);
}

int fat_write(const char *label, const struct fat_file *files, size_t n, struct buffer *ret, struct error *err) {
    assert(n <= FAT_FILES_MAX && strlen(label) <= SHORT_NAME);
    size_t needed = 0;
    for (size_t i = 0; i < n; i++) {
        assert(strlen(files[i].name) <= FAT_NAME_MAX);
        if (files[i].len > (size_t)CLUSTERS_MAX * SECTOR)
            return error_set(err, ERR_CAPACITY, files[i].name, "is too large for a FAT12 volume: %zu bytes",
                             files[i].len);
        needed += divide_up(files[i].len, SECTOR);
    }
    if (needed > CLUSTERS_MAX)
        return error_set(err, ERR_CAPACITY, label, "the files need %zu clusters, a FAT12 volume has %d", needed,
                         CLUSTERS_MAX);

    uint32_t clusters = needed < CLUSTERS_MIN ? CLUSTERS_MIN : (uint32_t)needed;
    uint32_t fat_sectors = divide_up((clusters + FIRST_CLUSTER) * 3, 2 * SECTOR);
    uint32_t before_data = 1 + FAT_COPIES * fat_sectors + ROOT_SECTORS;
    size_t size = (size_t)(before_data + clusters) * SECTOR;
    uint8_t *bytes = (uint8_t *)buffer_reserve(ret, size);
    if (!bytes)
        return error_set(err, ERR_CAPACITY, label, "the volume of %zu bytes does not fit the buffer", size);
    memset(bytes, 0, size);
    put_boot_sector(bytes, label, before_data + clusters, fat_sectors);
    struct volume v = {.fat = bytes + SECTOR, .fat_sectors = fat_sectors, .next_cluster = FIRST_CLUSTER};
    v.next_entry = v.fat + (size_t)FAT_COPIES * fat_sectors * SECTOR;
    v.data = v.next_entry + ROOT_SECTORS * SECTOR;
    put_volume(&v, label, files, n);
    ret->len += size;
    ret->data[ret->len] = '\0';
    return 0;
}
