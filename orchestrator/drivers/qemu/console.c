#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu_priv.h"

#define CONSOLE_BYTES 4096
#define ESCAPE 0x1b

/* Length of the escape sequence at `s`: ESC [ parameters final-byte (ECMA-48), or ESC and one byte. */
static size_t escape_length(const char *s, size_t n) {
    size_t i = 1;
    if (i < n && s[i] == '[')
        for (i++; i < n && (s[i] < 0x40 || s[i] > 0x7e); i++)
            ;
    return i < n ? i + 1 : n;
}

void console_printable(const char *bytes, size_t n, struct buffer *ret) {
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == ESCAPE) {
            i += escape_length(bytes + i, n - i);
            continue;
        }
        if (c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f))
            buffer_putc(ret, (char)c);
        else if (c >= 0x80)
            buffer_putc(ret, '.');
        i++;
    }
}

/* The file's last max bytes; nothing when there is no such file. */
static int read_tail(int dirfd, const char *name, size_t max, struct buffer *ret, const char *subject,
                     struct error *err) {
    cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return error_set_errno(err, errno, subject, "cannot read %s", name);
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    if (lseek(fd, from, SEEK_SET) < 0 || fd_read(fd, max, ret))
        return error_set_errno(err, errno, subject, "cannot read %s", name);
    return 0;
}

void vm_log_tail(const struct vm *vm, const char *file, size_t max, struct buffer *ret) {
    cleanup_buffer struct buffer raw = {0};
    /* It illustrates another answer; without it that answer stands all the same. */
    if (vm->fd < 0 || read_tail(vm->fd, file, max, &raw, NULL, NULL))
        return;
    console_printable(buffer_str(&raw), raw.len, ret);
}

int qemu_console(struct hypervisor *hv, const struct tag *tag, struct buffer *ret, const struct context *ctx,
                 struct error *err) {
    cleanup_vm struct vm vm = VM_NONE;
    if (context_check(ctx, tag->path, "reading its console", err) || vm_load(hv, tag, &vm, err))
        return -1;
    cleanup_buffer struct buffer raw = {0};
    if (read_tail(vm.fd, CONSOLE_FILE, CONSOLE_BYTES, &raw, tag->path, err))
        return -1;
    console_printable(buffer_str(&raw), raw.len, ret);
    return 0;
}
