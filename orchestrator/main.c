#include <malloc.h>

#include "cli/cli.h"

int main(int argc, char **argv) {
    /* glibc gives many threads several heaps, each with holes of its own. Ours mostly wait: they can share one. */
    mallopt(M_ARENA_MAX, 1);
    return cli_main(argc, argv);
}
