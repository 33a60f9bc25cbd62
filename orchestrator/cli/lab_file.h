/* The lab file that was named on the command line. */
#ifndef NESTOR_CLI_LAB_FILE_H
#define NESTOR_CLI_LAB_FILE_H

#include "cli/cli.h"
#include "nestor/lab.h"

/* As lab_load with template_check, but one that cannot be read is ERR_USAGE: to a script that is the same mistake as
 * one that is not valid (exit status 2). native still has the errno. */
int lab_file_load(const struct cli *cli, const char *file, struct lab **ret, struct diagnostics *diags,
                  struct error *err) NESTOR_CHECKED;
/* The findings on standard error; one error alone is told by the error it comes with. */
void lab_file_tell(const char *file, const struct diagnostics *diags);

#endif
