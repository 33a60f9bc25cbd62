/* Durations as the spec writes them: "90s", "5m", "1h", or plain seconds. */
#ifndef NESTOR_SPEC_DURATION_H
#define NESTOR_SPEC_DURATION_H

#include <stdbool.h>
#include <stdint.h>

bool duration_read(const char *text, uint64_t *ret_seconds);
void duration_format(uint64_t seconds, char out[24]);

#endif
