#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state_folder.h"

#include <stdio.h>
#include <stdlib.h>

#include "nestor/file.h"

char *state_folder_new(void) {
    const char *base = getenv("TMPDIR");
    char *folder = xasprintf("%s/nestor-test-XXXXXX", base && *base == '/' ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

void state_folder_remove(char *folder) {
    assert_int_equal(tree_remove(folder, NULL, NULL), 0);
    free(folder);
}

char *state_folder_path(const char *folder, const char *name) { return xasprintf("%s/%s", folder, name); }

char *state_file_read(const char *path, size_t *ret_len) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    struct buffer b = {0};
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        buffer_append(&b, chunk, n);
    assert_false(ferror(f));
    fclose(f);
    if (ret_len)
        *ret_len = b.len;
    return buffer_steal(&b);
}

void state_file_write(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}
