/* The lab file that was named on the command line. */
#ifndef NESTOR_CLI_LAB_FILE_H
#define NESTOR_CLI_LAB_FILE_H

#include "cli/cli.h"
#include "nestor/lab.h"

/* As lab_load, but one that cannot be read is ERR_USAGE: to a script that is the same mistake as one that is not valid
 * (exit status 2). native still has the errno. */
int lab_file_load(const struct cli *cli, const char *file, struct lab **ret, struct diagnostics *diags,
                  struct error *err) NESTOR_CHECKED;

#endif
