#include <stdlib.h>
#include <string.h>

#include "nestor/lab.h"

/* Longer words are not misspelt keys, and the distance costs the product of the lengths. */
#define WORD_MAX 64

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours each count one. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb) {
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[nb];
}

const char *nearest_word(const char *word, const char *const *words, size_t n) {
    size_t len = strnlen(word, WORD_MAX + 1);
    if (len > WORD_MAX)
        return NULL;
    /* A third of the letters may differ; with more, the suggestion is a guess that misleads. */
    unsigned best = (len < 3 ? 1 : (unsigned)len / 3) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t other = strnlen(words[i], WORD_MAX + 1);
        size_t gap = other > len ? other - len : len - other;
        if (other > WORD_MAX || gap >= best)
            continue;
        unsigned d = distance(word, len, words[i], other);
        if (d < best && d < len) {
            best = d;
            nearest = words[i];
        }
    }
    return nearest;
}
