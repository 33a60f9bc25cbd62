#include "spec/duration.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *suffix;
    uint64_t seconds;
} units[] = {{"h", 3600}, {"m", 60}, {"s", 1}, {"", 1}};

bool duration_read(const char *text, uint64_t *ret) {
    /* Eight digits hold three years, and cannot overflow. */
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 8)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(text + digits, units[i].suffix) == 0) {
            *ret = strtoull(text, NULL, 10) * units[i].seconds;
            return true;
        }
    return false;
}

void duration_format(uint64_t seconds, char out[24]) {
    size_t i = 0;
    while (units[i].seconds > 1 && (seconds == 0 || seconds % units[i].seconds))
        i++;
    snprintf(out, 24, "%" PRIu64 "%s", seconds / units[i].seconds, units[i].suffix);
}
