/* How much a spec may ask of nestor before it is refused. The file may come from anywhere, so each way to make it
 * grow has a ceiling; docs/spec.md lists them and a test compares. */
#ifndef NESTOR_SPEC_LIMITS_H
#define NESTOR_SPEC_LIMITS_H

#include <stddef.h>

#define SPEC_FILE_MAX ((size_t)4 << 20)
#define SPEC_NODES_MAX 2000000  /* keys and values, aliases counted as if written out */
#define SPEC_TREE_DEPTH_MAX 128 /* of YAML: 32 levels of machines take 66 */
#define SPEC_LEVELS_MAX 32
#define SPEC_MACHINES_MAX 100000 /* counts expanded */
#define SPEC_COUNT_MAX 10000     /* of one `count:` */
#define SPEC_NAME_MAX 42
#define SPEC_PATH_MAX 200
#define SPEC_TEMPLATE_MAX 500 /* bytes of the name or path of a template on a hypervisor */
#define SPEC_EXTRA_MAX 100    /* keys of one `extra-config` */
#define SPEC_EXTRA_SIZE_MAX ((size_t)64 << 10)
#define SPEC_USER_DATA_MAX ((size_t)256 << 10)
#define SPEC_USER_DATA_TOTAL_MAX ((size_t)64 << 20) /* all files read for one spec */
#define SPEC_ERRORS_MAX 1000                        /* told of one file */
#define SPEC_WARNINGS_MAX 100

#endif
