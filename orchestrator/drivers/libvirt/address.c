/* The address of a machine: the DHCP lease of our MAC, as libvirt's dnsmasq keeps it. The status files are read
 * directly, the way libvirt's own NSS module does (tools/nss/libvirt_nss_leases.c): asking virsh each time costs half a
 * second of CPU under emulation, taken from the very machine that is booting. virsh is asked now and then as well, for
 * networks whose files are elsewhere. That the machine runs is looked up first: a lease outlives it. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "drivers/libvirt/libvirt.h"

/* Looks for up to ten seconds, prints the address if there is one. Starting a program takes a tenth of a second of CPU
 * under emulation, so a look starts none but sleep: the shell reads the files itself. libvirt writes them one key a
 * line (src/network/leaseshelper.c); of several leases the last counts, and IPv6 ones do not. */
static const char address_script[] = SCRIPT_STATE
    "running() {\n"
    "    pid=; { read -r pid </run/libvirt/qemu/\"$name\".pid; } 2>/dev/null\n"
    "    [ -n \"$pid\" ] && kill -0 \"$pid\" 2>/dev/null && return\n"
    "    power=$(state) || exit\n"
    "    case $power in running|idle|paused|'in shutdown'|pmsuspended) return ;; esac\n"
    "    tail -c 300 \"$dir/$name/console.log\" 2>/dev/null | tr -c '[:print:]' ' ' >&2\n"
    "    echo >&2; echo \"it is not running ($power)\" >&2; exit $died\n"
    "}\n"
    "lease() {\n"
    "    ip= at= mine=\n"
    "    for file in /var/lib/libvirt/dnsmasq/*.status; do\n"
    "        while read -r line; do\n"
    "            case $line in\n"
    "            '{'*) at= mine= ;;\n"
    "            '\"ip-address\"'*) at=${line#*: \\\"}; at=${at%%\\\"*} ;;\n"
    "            '\"mac-address\"'*\"\\\"$mac\\\"\"*) mine=yes ;;\n"
    "            '}'*) case $mine$at in yes|yes*[!0-9.]*|[!y]*|'') ;; *) ip=$at ;; esac ;;\n"
    "            esac\n"
    "        done <\"$file\"\n"
    "    done 2>/dev/null\n"
    "}\n"
    "turn=0\n"
    "while [ $turn -lt 20 ]; do\n"
    "    running\n"
    "    turn=$((turn + 1))\n"
    "    lease\n"
    "    if [ -z \"$ip\" ] && [ $turn = 20 ]; then\n"
    "        ip=$(v net-dhcp-leases \"$net\" --mac \"$mac\" 2>/dev/null | grep -o '[0-9.]*/[0-9]*' | tail -n 1)\n"
    "    fi\n"
    "    if [ -n \"$ip\" ]; then echo \"${ip%/*}\"; exit 0; fi\n"
    "    sleep 0.5\n"
    "done\n";

/* "" when there is none yet. */
static int ask(struct hypervisor *hv, const char *script, char out[64], const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer text = {0};
    if (script_run(hv, script, NULL, 0, &text, ctx, err))
        return -1;
    struct in_addr ignored;
    snprintf(out, 64, "%.*s", (int)strcspn(buffer_str(&text), "\n"), buffer_str(&text));
    if (text.len && inet_pton(AF_INET, out, &ignored) != 1)
        return error_set(err, ERR_PROTOCOL, hv->subject, "its lease list holds '%s', which is no address", out);
    return 0;
}

int libvirt_address(struct hypervisor *hv, const struct machine_spec *spec, struct endpoint *ret,
                    const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    script_begin(hv, &script);
    script_set(&script, "name", spec->name);
    script_set(&script, "mac", spec->mac);
    buffer_printf(&script, "died=%d\nset +e\n", SCRIPT_NOT_RUNNING);
    buffer_puts(&script, address_script);
    char found[64] = "";
    while (!found[0]) {
        if (context_check(ctx, spec->tag.path, "waiting for its DHCP lease", err))
            return -1;
        if (ask(hv, buffer_str(&script), found, ctx, err)) {
            if (err && err->code == ERR_DIED)
                error_subject(err, spec->tag.path);
            return -1;
        }
    }
    struct endpoint at = {.port = spec->ssh_port};
    memcpy(at.host, found, sizeof found);
    *ret = at;
    return 0;
}
