#include <stdio.h>
#include <string.h>

#include "qemu_priv.h"

/* A line of "info usernet":
 *   TCP[HOST_FORWARD]  15       127.0.0.1 35299       10.0.2.15    22     0     0
 */
uint16_t forward_find(const char *info_usernet, uint16_t guest_port) {
    for (const char *at = info_usernet; (at = strstr(at, "TCP[HOST_FORWARD]")); at++) {
        unsigned host_port, to_port;
        if (sscanf(at, "TCP[HOST_FORWARD] %*d 127.0.0.1 %5u %*63s %5u", &host_port, &to_port) == 2 &&
            to_port == guest_port && host_port > 0 && host_port <= UINT16_MAX)
            return (uint16_t)host_port;
    }
    return 0;
}

/* User networking has no QMP commands of its own: what it says is the human monitor's text. */
static int ask_monitor(struct qmp *q, const char *line, struct buffer *ret, const char *subject,
                       const struct context *ctx, struct error *err) {
    json_t *value = NULL;
    if (qmp_execute(q, "human-monitor-command", json_pack("{s:s}", "command-line", line), &value, ctx, err))
        return -1;
    const char *text = json_string_value(value);
    if (text)
        buffer_puts(ret, text);
    json_decref(value);
    return text ? 0 : error_set(err, ERR_PROTOCOL, subject, "QEMU answered '%s' with something else", line);
}

static int read_forward(struct qmp *q, uint16_t guest_port, uint16_t *ret, const char *subject,
                        const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    if (ask_monitor(q, "info usernet", &text, subject, ctx, err))
        return -1;
    *ret = forward_find(buffer_str(&text), guest_port);
    return 0;
}

/* Silence is success. *ret_added false: the port is taken, or may not be bound. */
static int add_forward(struct qmp *q, uint16_t host_port, uint16_t guest_port, bool *ret_added, const char *subject,
                       const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    char line[96];
    snprintf(line, sizeof line, "hostfwd_add net0 tcp:127.0.0.1:%u-:%u", host_port, guest_port);
    if (ask_monitor(q, line, &text, subject, ctx, err))
        return -1;
    *ret_added = text.len == 0;
    return 0;
}

int forward_ensure(struct qmp *q, uint16_t guest_port, uint16_t wish, uint16_t *ret, const char *subject,
                   const struct context *ctx, struct error *err) {
    uint16_t port = 0;
    if (read_forward(q, guest_port, &port, subject, ctx, err))
        return -1;
    bool added = port != 0;
    if (!added && wish && add_forward(q, wish, guest_port, &added, subject, ctx, err))
        return -1;
    /* QEMU binds the socket itself, so between choosing a port and using it there is no moment for another program
     * to take it. Port 0: the kernel chooses. */
    if (!added && add_forward(q, 0, guest_port, &added, subject, ctx, err))
        return -1;
    if (!port && added && read_forward(q, guest_port, &port, subject, ctx, err))
        return -1;
    if (!port)
        return error_set(err, ERR_PROCESS, subject, "QEMU cannot forward a port of 127.0.0.1 to port %u", guest_port);
    *ret = port;
    return 0;
}
