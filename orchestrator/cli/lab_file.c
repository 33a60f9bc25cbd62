#include "cli/lab_file.h"

#include "cli/templates.h"

int lab_file_load(const struct cli *cli, const char *file, struct lab **ret, struct diagnostics *diags,
                  struct error *err) {
    struct error why = {0};
    if (lab_load(file, template_check, ret, diags, &cli->ctx, &why) == 0)
        return 0;
    if (why.code != ERR_SPEC && why.code != ERR_CANCELLED)
        why.code = ERR_USAGE;
    *err = why;
    return -1;
}

void lab_file_tell(const char *file, const struct diagnostics *diags) {
    cleanup_buffer struct buffer text = {0};
    if (diags->n == 1 && diags->nerrors)
        return;
    diagnostics_print(diags, file, &text);
    fputs(buffer_str(&text), stderr);
}
