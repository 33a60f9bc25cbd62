#include "ui_capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

char *ui_capture(void (*print)(void *data, FILE *out), void *data) {
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_non_null(out);
    print(data, out);
    fclose(out);
    return text;
}

static void speak(const char *locale) {
    setenv("LC_ALL", locale, 1);
    setenv("TZ", "UTC", 1);
}
void ui_speak_utf8(void) { speak("C.UTF-8"); }
void ui_speak_ascii(void) { speak("C"); }

void ui_assert_harmless(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if ((*c < 0x20 && *c != '\n') || *c == 0x7f)
            fail_msg("control character %#x in: %s", *c, text);
        if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
            fail_msg("C1 control character %#x in: %s", c[1], text);
        if (c[0] == 0xe2 && c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae)
            fail_msg("bidi override in: %s", text);
    }
}
