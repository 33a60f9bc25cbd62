/* Any bytes as what the probes printed in a guest: the judgement ends, keeps to its table, and a guest cannot talk
 * itself into a proof. The first byte chooses what was asked.
 *
 *   cmake --preset fuzz && cmake --build --preset fuzz -t fuzz_verify
 *   build-fuzz/fuzz_verify -max_total_time=60 -timeout=5 FOLDER tests/fuzz/corpus/verify
 */
#include <stdlib.h>
#include <string.h>

#include "nestor/verify.h"

#define OUTPUT_MAX 4096

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            abort();                                                                                                   \
    } while (0)

static void check_probe(const struct probe *p) {
    MUST(p->name && p->command && p->output && strlen(p->output) <= OUTPUT_MAX);
    MUST(!p->reason || reason_find(p->reason));
    MUST(!p->ok || (p->ran && !p->reason));
    for (const unsigned char *c = (const unsigned char *)p->output; *c; c++)
        MUST(*c == '\n' || (*c >= 0x20 && *c != 0x7f));
}

/* Only what ran and passed can make the verdict good. */
static void check_evidence(const struct evidence *e, bool exposed) {
    bool flag_seen = false, decided = false;
    MUST(e->nprobes >= 1 && e->nprobes <= PROBE_MAX);
    MUST(e->verified == !e->reason && (!e->reason || reason_find(e->reason)));
    for (size_t i = 0; i < e->nprobes; i++) {
        check_probe(&e->probes[i]);
        flag_seen = flag_seen || (strcmp(e->probes[i].name, "cpu-flag") == 0 && e->probes[i].ok);
        decided = decided || e->probes[i].reason;
    }
    MUST(e->verified == !decided);
    MUST(!e->verified || (exposed && flag_seen));
    MUST(!e->flag[0] || flag_seen);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    if (size == 0)
        return 0;
    const char *kind = data[0] & 1 ? "libvirt" : "generic";
    bool exposed = data[0] & 2, nested_needed = data[0] & 4;
    struct evidence e;
    struct error err = {0};
    if (verify_parse(kind, exposed, nested_needed, (const char *)data + 1, size - 1, &e, &err) == 0) {
        MUST(err.code == ERR_NONE);
        check_evidence(&e, exposed);
        evidence_free(&e);
    } else {
        MUST(err.code == ERR_PROTOCOL && err.mend[0]);
    }
    return 0;
}
