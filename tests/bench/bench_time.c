/* bench_time COMMAND ...: runs it once with its output thrown away, and prints "WALL_MS PEAK_RSS_KIB EXIT_STATUS".
 *
 * A program of its own because the kernel counts what a process had before exec into its peak: this one is smaller than
 * anything it measures. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
    posix_spawn_file_actions_t actions;
    struct rusage usage;
    pid_t pid;
    int status;
    if (argc < 2) {
        fputs("usage: bench_time COMMAND ...\n", stderr);
        return 2;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    double begin = now_ms();
    int failed = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ);
    if (failed) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(failed));
        return 1;
    }
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return 1;
    double wall = now_ms() - begin;
    printf("%.2f %ld %d\n", wall, usage.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
