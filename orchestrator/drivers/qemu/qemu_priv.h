/* What the files of the qemu driver share.
 *
 * A machine is a directory, home/qemu/LAB_ID/PATH-WITH-DOTS, and at most one QEMU process that names that directory
 * and the machine's UUID in its arguments. Both names follow from the tag, so a machine is found again with nothing
 * but the file system and /proc, whatever was killed in between:
 *
 *   nothing -> machine.json -> seed.img -> disk.qcow2      create (the disk appears whole, so it is last)
 *   process, not recorded as launched                      start was cut: the guest does not run (LIFE_HALF)
 *   process, recorded in machine.json                      the guest runs (LIFE_RUNS)
 *
 * Beside the labs, home/qemu/base holds what the disks are overlays on, one file per checksum.
 */
#ifndef NESTOR_DRIVERS_QEMU_PRIV_H
#define NESTOR_DRIVERS_QEMU_PRIV_H

#include <sys/types.h>

#include "nestor/arena.h"
#include "nestor/buffer.h"
#include "nestor/driver.h"
#include "nestor/file.h"
#include "nestor/identity.h"
#include "nestor/qmp.h"

enum accel_wish { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };

struct hypervisor {
    char *subject;
    char *dir;  /* home/qemu, absolute and without symbolic links */
    char *root; /* where /proc, /sys and /dev of the accelerator rule are; "" but in tests */
    char *binary, *machine, *cpu;
    enum accel_wish accel;
};

/* --- accel.c: KVM or emulation, and what a guest can see --- */

struct accel {
    bool kvm;           /* else TCG */
    const char *flag;   /* "vmx", "svm": what an exposed guest sees; "" when nesting is not possible */
    const char *reason; /* why it is not (verify.h), else "" */
    char detail[256];   /* one sentence */
};
/* Pure but for reading root/proc/cpuinfo, root/sys/module/kvm_*, and opening root/dev/kvm. */
void accel_choose(const char *root, enum accel_wish wish, const char *cpu, struct accel *ret);
/* ERR_NESTING with the accelerator's reason when a guest cannot get hardware virtualization, else 0. */
int accel_require_nesting(const struct accel *a, const char *subject, struct error *err) NESTOR_CHECKED;

/* --- base.c: what machines are clones of --- */

/* While the descriptor is open no base is removed: from ensuring one until it is on a machine's record. */
int base_hold(const struct hypervisor *hv, int *ret_fd, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Every file of the image is there. Wants the hold. */
int base_ensure(const struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Where a file of the image is; NULL when the image has none (file is NULL). The caller frees it. */
char *base_path(const struct hypervisor *hv, const char *file, const char *sha256, const char *suffix);
/* Removes what is on no machine's record. */
int base_prune(const struct hypervisor *hv, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- record.c: machine.json --- */

#define RECORD_FILE "machine.json"
#define DISK_FILE "disk.qcow2"
#define SEED_FILE "seed.img"
#define CONSOLE_FILE "console.log"
#define LOG_FILE "qemu.log"
#define SOCKET_FILE "qmp.sock"
#define PID_FILE "pidfile"

struct record {
    struct arena arena; /* holds the strings */
    const char *lab_id, *path, *name, *digest, *uuid, *mac;
    const char *image, *format;            /* the disk's backing file, a base */
    int64_t image_size, image_mtime_ns;    /* as it was when the overlay was made */
    const char *kernel, *initrd, *cmdline; /* "" when booting from the disk */
    int64_t cpus, memory, ssh_port;
    int64_t host_port;     /* the last one that was forwarded to ssh_port; 0: none yet */
    bool expose;           /* what was asked for */
    int64_t launched_pid;  /* the QEMU whose guest was let run; 0: none */
    bool launched_exposed; /* what that one's CPU showed */
};
int vm_record_load(int dirfd, struct record *ret, const char *subject, struct error *err) NESTOR_CHECKED;
int vm_record_save(int dirfd, const struct record *r, const char *subject, struct error *err) NESTOR_CHECKED;
void vm_record_free(struct record *r);

/* --- vm.c: one machine's directory --- */

struct vm {
    const struct hypervisor *hv;
    struct tag tag;
    char *dir;
    int fd;     /* of dir; -1: there is none */
    bool known; /* rec is valid; false: the directory has none */
    struct record rec;
};
#define VM_NONE ((struct vm){.fd = -1})
/* Looks; finding nothing is no error (fd -1), nor is a directory without a record. A record that is there and cannot be
 * read is one: what it stands for is no rubbish. Release with vm_release in every case. */
int vm_find(const struct hypervisor *hv, const struct tag *tag, struct vm *ret, struct error *err) NESTOR_CHECKED;
/* As vm_find, and the machine must be there and whole. */
int vm_load(const struct hypervisor *hv, const struct tag *tag, struct vm *ret, struct error *err) NESTOR_CHECKED;
bool vm_is_whole(const struct vm *vm);
/* Makes the directory, and the lab's. */
int vm_make_dir(struct vm *vm, struct error *err) NESTOR_CHECKED;
/* Ends its processes and deletes the directory, the record last: until then a cut deletion is still seen as ours. */
int vm_destroy(struct vm *vm, const struct context *ctx, struct error *err) NESTOR_CHECKED;
int vm_save(const struct vm *vm, struct error *err) NESTOR_CHECKED;
void vm_release(struct vm *vm);
#define cleanup_vm __attribute__((cleanup(vm_release)))

/* The name of a machine's directory stands for its path, "." for "/". False if it cannot be one of ours. */
bool dir_name_to_path(const char *name, struct arena *arena, const char **ret);
bool is_lab_id(const char *name);

/* --- process.c: QEMU processes of ours, found by their arguments --- */

struct qemu_process {
    pid_t pid;
    char uuid[37];
    char *dir; /* of the machine, in the list's arena */
};
struct qemu_process_list {
    struct arena arena;
    struct qemu_process *items;
    size_t n;
};
/* One scan of /proc for every QEMU any nestor of this user has started: all of them, or an error. */
int qemu_process_list(struct qemu_process_list *ret, const char *subject, struct error *err) NESTOR_CHECKED;
void qemu_process_list_free(struct qemu_process_list *l);
#define cleanup_qemu_process_list __attribute__((cleanup(qemu_process_list_free)))
/* Reads the arguments of a process as /proc/PID/cmdline gives them. False: not one of ours. */
bool qemu_process_parse(const char *cmdline, size_t len, struct arena *arena, struct qemu_process *ret);

enum life { LIFE_NONE, LIFE_HALF /* a process, but its guest was never let run */, LIFE_RUNS };
/* ret_pid may be NULL. */
enum life vm_life(const struct vm *vm, const struct qemu_process_list *l, pid_t *ret_pid);
/* vm_life over a scan of its own. */
int vm_look(const struct vm *vm, enum life *ret, pid_t *ret_pid, struct error *err) NESTOR_CHECKED;
/* A pidfd of the machine's process, -1 in *ret_fd when there is none. Safe against reuse of process ids. */
int vm_pidfd(const struct vm *vm, int *ret_fd, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Ends its processes: SIGTERM, after grace_ms SIGKILL (at once when 0), and waits until they are gone. */
int vm_end(const struct vm *vm, int64_t grace_ms, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- launch.c: the command line, to be run in the machine's directory --- */

#define LAUNCH_ARGS_MAX 80
struct launch {
    struct arena arena;
    const char *argv[LAUNCH_ARGS_MAX]; /* NULL at the end */
    size_t n;
};
void launch_build(struct launch *l, const struct hypervisor *hv, const struct vm *vm, const struct accel *accel);
void launch_free(struct launch *l);
#define cleanup_launch __attribute__((cleanup(launch_free)))

/* --- forward.c: the way in from 127.0.0.1 --- */

/* Makes sure a port of 127.0.0.1 leads to guest_port: the one there is, else `wish`, else one the kernel chooses. */
int forward_ensure(struct qmp *q, uint16_t guest_port, uint16_t wish, uint16_t *ret, const char *subject,
                   const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* The host port that leads to guest_port according to "info usernet"; 0: none. */
uint16_t forward_find(const char *info_usernet, uint16_t guest_port);

/* --- console.c --- */

/* Keeps text and line ends; terminal escapes go, other bytes become '.'. */
void console_printable(const char *bytes, size_t n, struct buffer *ret);
/* The end of one of the machine's logs, printable; "" when there is none. */
void vm_log_tail(const struct vm *vm, const char *file, size_t max, struct buffer *ret);

/* --- the operations of the driver table, by file --- */

int qemu_check(struct hypervisor *hv, struct capability *ret, const struct context *ctx, struct error *err);
int qemu_observe(struct hypervisor *hv, const char *lab_id, struct observation **ret, const struct context *ctx,
                 struct error *err);
int qemu_ensure_image(struct hypervisor *hv, const struct image *image, progress_fn progress, void *data,
                      const struct context *ctx, struct error *err);
int qemu_create(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
int qemu_expose(struct hypervisor *hv, const struct machine_spec *spec, bool on, bool *ret_exposed,
                const struct context *ctx, struct error *err);
int qemu_remove(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
int qemu_prune(struct hypervisor *hv, const struct context *ctx, struct error *err);
int qemu_start(struct hypervisor *hv, const struct machine_spec *spec, const struct context *ctx, struct error *err);
int qemu_stop(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
int qemu_power_cut(struct hypervisor *hv, const struct tag *tag, const struct context *ctx, struct error *err);
int qemu_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                 const struct context *ctx, struct error *err);
int qemu_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                 struct error *err);

#endif
