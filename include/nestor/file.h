/* Files and directories: reading that is bounded, writing that is whole or not at all.
 *
 * A name is looked up in dirfd; AT_FDCWD makes it an ordinary path. An error is about `subject`, with the
 * name in its cause; without a subject (NULL) it is about the name.
 */
#ifndef NESTOR_FILE_H
#define NESTOR_FILE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "nestor/buffer.h"
#include "nestor/error.h"

/* --- descriptors: 0, or -1 with errno, as the system calls they are made of --- */

/* read(2) until the end of the file or until max bytes were appended. max + 1 tells whether there is more than max. */
int fd_read(int fd, size_t max, struct buffer *ret) NESTOR_CHECKED;
/* write(2) until all is written. */
int fd_write(int fd, const void *bytes, size_t n) NESTOR_CHECKED;
/* Gives what is open as fd its mode, puts it on disk, and renames it from temporary to name; then the directory is on
 * disk as well: a rename is not safe from a power cut before. */
int fd_publish(int fd, int dirfd, const char *temporary, const char *name, mode_t mode) NESTOR_CHECKED;

/* --- files --- */

bool file_exists(int dirfd, const char *name);
/* Whether execvp(3) would find a program of that name to run. Does not run it. */
bool program_exists(const char *name);
/* Appends the file's first max bytes. */
int file_read(int dirfd, const char *name, size_t max, struct buffer *ret, const char *subject,
              struct error *err) NESTOR_CHECKED;
/* The file has these bytes and this mode, or is as it was, even when the power is cut: they are written to a temporary
 * file beside it first. Of several writers at a time the last one wins. */
int file_write(int dirfd, const char *name, const void *bytes, size_t n, mode_t mode, const char *subject,
               struct error *err) NESTOR_CHECKED;

/* --- directories --- */

/* Makes the directory; fine if it is there. */
int dir_make(const char *path, mode_t mode, const char *subject, struct error *err) NESTOR_CHECKED;
/* The name of the next entry but "." and "..", borrowed until the next call: 1, or 0 at the end. Half a list is none:
 * -1 with errno when the directory cannot be read on. */
int dir_next(DIR *dir, const char **ret) NESTOR_CHECKED;
/* Calls fn for each entry of a directory; one that is not there is empty. Ends with the first -1 of fn. */
int dir_each(const char *dir, const char *subject, int (*fn)(void *data, const char *name, struct error *err),
             void *data, struct error *err) NESTOR_CHECKED;
/* Removes a file, or a directory with all that is in it; fine if it is gone. Symbolic links are removed, never
 * followed. */
int tree_remove(const char *path, const char *subject, struct error *err) NESTOR_CHECKED;

void cleanup_closedirp(DIR **dir);
#define cleanup_dir __attribute__((cleanup(cleanup_closedirp)))

#endif
