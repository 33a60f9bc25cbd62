/* The fake driver's world: a directory tree that is the whole truth, shared by every process that opens it.
 *
 *   WORLD/log                          one line per side effect, of this world and of all worlds inside it
 *   WORLD/calls                        one line per call, if they are to be counted
 *   WORLD/prepared                     the host is prepared to nest (fake-remote)
 *   WORLD/network                      the network is there
 *   WORLD/images/SHA256                an image is there
 *   WORLD/machines/LAB_ID.lab.kvm1/    a machine: the directory's name is its ownership tag
 *       spec                           what it was created with; without it the machine is half-made
 *       on                             it runs
 *       exposed                        hardware virtualization is exposed to it
 *       files/                         what was copied into it
 *       choices                        how it was cloned, and its advanced keys (fake-remote)
 *       address                        where the hypervisor it becomes answers
 *       inside/                        the world of the guest hypervisor it is
 *
 * mkdir makes the machine and its tag in one call, so nothing nestor makes is ever without a tag, whenever it is
 * killed. There is no cache and no descriptor is kept open: thousands of worlds cost nothing while idle.
 */
#ifndef NESTOR_DRIVERS_FAKE_WORLD_H
#define NESTOR_DRIVERS_FAKE_WORLD_H

#include "drivers/fake/settings.h"
#include "nestor/driver.h"
#include "nestor/file.h"

/* Makes the directories; the one the world is in must be there unless `parents`. */
int fake_world_make(const struct settings *s, bool parents, const char *subject, struct error *err);

/* Paths are the caller's to free. leaf may be NULL: the machine's own directory. */
char *fake_world_path(const struct settings *s, const char *leaf);
char *fake_machine_path(const struct settings *s, const struct tag *tag, const char *leaf);
/* "0123456789abcdef.lab.kvm1" -> its two halves, in place. False for any other name: not one of our machines. */
bool fake_split_tag(char *directory_name, struct tag *ret);

/* Empty files that stand for "yes". Setting what is set, and clearing what is not, succeeds. */
bool fake_mark_is_set(const char *path);
int fake_mark_set(const char *path, const char *subject, struct error *err);
int fake_mark_clear(const char *path, const char *subject, struct error *err);

/* Makes path with its whole content, or not at all. */
int fake_write(const char *path, const struct buffer *text, const char *subject, struct error *err);

/* An exclusive hold on a part of the world, "images" or "machines" (and all else), across threads and processes.
 * Closing *ret_fd ends it. Who needs both takes them in this order. */
int fake_world_lock(const struct settings *s, const char *part, int *ret_fd, const char *subject,
                    const struct context *ctx, struct error *err);
/* Appends "OP NAME" to the log; NAME is a machine's path or a hypervisor's subject. */
int fake_world_log(const struct settings *s, const char *op, const char *name, struct error *err);
/* The same for a call, if calls are to be noted. */
int fake_world_note(const struct settings *s, const char *what, const char *name, struct error *err);

#endif
