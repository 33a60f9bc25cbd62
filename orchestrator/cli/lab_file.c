#include "cli/lab_file.h"

int lab_file_load(const struct cli *cli, const char *file, struct lab **ret, struct diagnostics *diags,
                  struct error *err) {
    struct error why = {0};
    if (lab_load(file, ret, diags, &cli->ctx, &why) == 0)
        return 0;
    if (why.code != ERR_SPEC && why.code != ERR_CANCELLED)
        why.code = ERR_USAGE;
    *err = why;
    return -1;
}
