/* Faults at a chosen database commit or write, for tests: without any hook in the product's code.
 *
 * Linking killpoint.c into a program that uses SQLite is enough: its constructor registers an automatic extension,
 * which gives each new connection a commit hook and a trace, and replaces the write calls of SQLite's unix VFS.
 * The product must set neither itself. A program is steered by its environment, a test that forks by the functions
 * below.
 *
 *   NESTOR_TEST_KILL_AT=N          the process ends by SIGKILL at the N-th commit (counted from 1) ...
 *   NESTOR_TEST_KILL_WHEN=before   ... just before it (the default): the transaction is lost,
 *                         after    ... just after it: the transaction is there, nobody was told,
 *                         write    ... at the N-th write(2) of SQLite instead: in the middle of one
 *   NESTOR_TEST_DISK_FULL_AT=N     from the N-th commit on every write of SQLite fails with ENOSPC
 *   NESTOR_TEST_COUNT_FILE=PATH    at exit, the number of commits is written to it, in decimal
 */
#ifndef KILLPOINT_H
#define KILLPOINT_H

enum killpoint_when { KILL_BEFORE_COMMIT, KILL_AFTER_COMMIT, KILL_AT_WRITE };

/* Counts from now: resets the counters. at 0: never. */
void killpoint_kill(int at, enum killpoint_when when);
/* From the at-th write from now on, all fail with errnum. at 0: no more. */
void killpoint_fail_writes(int at, int errnum);

/* Since the last of the calls above, or the start. */
int killpoint_commits(void);
int killpoint_writes(void);

#endif
