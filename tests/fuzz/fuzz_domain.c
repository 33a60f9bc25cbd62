/* Any bytes as the XML of a libvirt domain: it is refused, or read the same again after nesting was switched in it.
 *
 *   cmake --preset fuzz && cmake --build --preset fuzz -t fuzz_domain
 *   build-fuzz/fuzz_domain -max_total_time=60 -timeout=5 FOLDER tests/fuzz/corpus/domain
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/libvirt/libvirt.h"

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            abort();                                                                                                   \
    } while (0)

static void check_switched(const struct domain_info *before, const char *xml, size_t len, bool accelerated, bool on) {
    const struct hypervisor hv = {.accelerated = accelerated};
    struct arena arena = {0};
    struct domain_info after;
    char *changed = NULL;
    MUST(domain_set_exposed(&hv, xml, len, on, &changed, NULL) == 0);
    MUST(domain_parse(changed, strlen(changed), &arena, &after, NULL) == 0);
    MUST(after.exposed == on && after.running == before->running);
    MUST(strcmp(after.lab_id, before->lab_id) == 0 && strcmp(after.path, before->path) == 0);
    MUST(strcmp(after.digest, before->digest) == 0 && strcmp(after.name, before->name) == 0);
    free(changed);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    const char *xml = (const char *)data;
    struct arena arena = {0};
    struct domain_info info;
    struct error err = {0};
    if (domain_parse(xml, size, &arena, &info, &err) == 0) {
        MUST(err.code == ERR_NONE && info.name && info.lab_id && info.path && info.digest);
        for (int i = 0; i < 4; i++)
            check_switched(&info, xml, size, i & 1, i & 2);
    } else {
        MUST(err.code == ERR_PROTOCOL && err.cause[0]);
    }
    arena_free(&arena);
    return 0;
}
