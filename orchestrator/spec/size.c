/* Sizes as Compose, QEMU and Kubernetes users write them: a bare letter is binary (512M is 512MiB), a B after it
 * makes it decimal (20GB is 20 * 10^9), as on a disk's label. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "nestor/lab.h"

static const struct {
    const char *suffix;
    uint64_t bytes;
} units[] = {
    {"", 1},
    {"B", 1},
    {"K", 1ull << 10},
    {"Ki", 1ull << 10},
    {"KiB", 1ull << 10},
    {"KB", 1000ull},
    {"M", 1ull << 20},
    {"Mi", 1ull << 20},
    {"MiB", 1ull << 20},
    {"MB", 1000000ull},
    {"G", 1ull << 30},
    {"Gi", 1ull << 30},
    {"GiB", 1ull << 30},
    {"GB", 1000000000ull},
    {"T", 1ull << 40},
    {"Ti", 1ull << 40},
    {"TiB", 1ull << 40},
    {"TB", 1000000000000ull},
};

static uint64_t unit_find(const char *suffix) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcasecmp(units[i].suffix, suffix) == 0)
            return units[i].bytes;
    return 0;
}

/* Adds the digits at *p to *number as if it went on; false when it does not fit. */
static bool take_digits(const char **p, uint64_t *number) {
    for (; isdigit((unsigned char)**p); (*p)++)
        if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, **p - '0', number))
            return false;
    return true;
}

/* What stands after the point, in bytes. Nine places tell bytes apart up to GiB, so more is a mistake. */
static bool take_fraction(const char **p, uint64_t *number, uint64_t *divisor) {
    const char *start = ++*p;
    if (!take_digits(p, number) || *p == start || *p - start > 9)
        return false;
    for (*divisor = 1; start < *p; start++)
        *divisor *= 10;
    return true;
}

static bool size_read(const char *p, uint64_t *ret) {
    uint64_t whole = 0, fraction = 0, divisor = 1;
    if (!isdigit((unsigned char)*p) || !take_digits(&p, &whole))
        return false;
    if (*p == '.' && !take_fraction(&p, &fraction, &divisor))
        return false;
    if (*p == ' ')
        p++;
    uint64_t unit = unit_find(p), total;
    if (!unit || (unit == 1 && divisor > 1) || __builtin_mul_overflow(whole, unit, &total))
        return false;
    uint64_t part = (uint64_t)((unsigned __int128)fraction * unit / divisor);
    return !__builtin_add_overflow(total, part, ret);
}

int size_parse(const char *text, uint64_t *ret, struct error *err) {
    uint64_t bytes;
    if (!size_read(text, &bytes)) {
        error_set(err, ERR_USAGE, NULL, "'%s' is not a size", text);
        return error_mend(err, "write it as 128MiB, 1.5GiB, 20GB or a number of bytes");
    }
    *ret = bytes;
    return 0;
}

static const struct {
    const char *name;
    uint64_t bytes;
} steps[] = {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1}};

static const char *const quarters[] = {"", ".25", ".5", ".75"};

/* The largest unit that shows the size exactly, so that 1GiB and 1025MiB differ in a plan; one decimal of the
 * natural unit where exact would be a long row of digits. */
void size_format(uint64_t bytes, char out[24]) {
    size_t natural = 0;
    while (steps[natural].bytes > bytes && steps[natural].bytes > 1)
        natural++;
    for (size_t i = natural; i < sizeof steps / sizeof *steps; i++) {
        uint64_t unit = steps[i].bytes, quarter = unit >= 4 ? unit / 4 : unit;
        if (bytes % quarter == 0 && bytes / unit < 100000) {
            const char *part = quarters[bytes % unit / quarter];
            snprintf(out, 24, "%" PRIu64 "%s%s", bytes / unit, part, steps[i].name);
            return;
        }
    }
    snprintf(out, 24, "%.1f%s", (double)bytes / (double)steps[natural].bytes, steps[natural].name);
}
