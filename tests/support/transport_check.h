/* What the transport's tests ask of an access. */
#ifndef TRANSPORT_CHECK_H
#define TRANSPORT_CHECK_H

#include "nestor/transport.h"

/* Runs it within twenty seconds; fails the test if that cannot be done. */
struct command_result test_run(struct access *a, const struct command *command);
void test_streams_and_status(struct access *a);
void test_signal_is_told(struct access *a);
/* len bytes through `cat` and back, compared. */
void test_bytes_come_back(struct access *a, size_t len);
/* Fills n bytes with a pattern that repeats late. */
void test_pattern(char *bytes, size_t n);
/* Reads n bytes from a non-blocking socket, within ten seconds. */
void test_read_all(int fd, char *bytes, size_t n);

/* Fires after ms, from a thread of its own; test_cancel_end joins it. */
struct test_cancel {
    struct cancel cancel;
    unsigned long thread;
    int ms;
};
struct context test_cancel_start(struct test_cancel *c, int ms);
void test_cancel_end(struct test_cancel *c);

#endif
