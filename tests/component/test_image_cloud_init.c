/* What cloud-init itself makes of the seed: its schema accepts it, and its merging keeps the machine's identity
 * whatever the spec's user-data says. Runs with the cloud-init of tests/support/cloud_init.sh, found through
 * NESTOR_CLOUD_INIT, or the one that is installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/user_data.h"
#include "image_fixture.h"

/* Prints the merged configuration as one line of JSON, keys sorted. */
static const char merge[] = "import json, os, sys, tempfile\n"
                            "from cloudinit import handlers, helpers, safeyaml, user_data, util\n"
                            "from cloudinit.handlers.cloud_config import CloudConfigPartHandler\n"
                            "folder = tempfile.mkdtemp(dir=os.path.dirname(sys.argv[1]))\n"
                            "paths = helpers.Paths({'cloud_dir': folder, 'run_dir': folder})\n"
                            "paths.get_ipath = lambda name: os.path.join(folder, name)\n"
                            "message = user_data.UserDataProcessor(paths).process(open(sys.argv[1], 'rb').read())\n"
                            "handler = CloudConfigPartHandler(paths)\n"
                            "handler.handle_part(None, handlers.CONTENT_START, None, None, None, None)\n"
                            "for part in message.walk():\n"
                            "    kind = part.get_content_type()\n"
                            "    if kind in ('text/cloud-config', 'text/cloud-config-jsonp'):\n"
                            "        text = util.fully_decoded_payload(part)\n"
                            "        handler.handle_part(None, kind, part.get_filename(), text, None, part)\n"
                            "handler.handle_part(None, handlers.CONTENT_END, None, None, None, None)\n"
                            "config = safeyaml.load(open(handler.cloud_fn).read())\n"
                            "config['ssh_keys']['ed25519_private'] = len(config['ssh_keys']['ed25519_private'])\n"
                            "print(json.dumps(config, sort_keys=True))\n";

/* Debian's own Python: another one that comes first in PATH has none of its modules. */
#define PYTHON "PYTHONPATH=\"${NESTOR_CLOUD_INIT:-}/usr/lib/python3/dist-packages\" /usr/bin/python3 "
#define CLOUD_INIT PYTHON "-m cloudinit.cmd.main "

static char *write_user_data(const struct seed *seed) {
    cleanup_buffer struct buffer out = {0};
    user_data_put(seed, &out);
    char *path = image_fixture_path("user-data");
    image_fixture_write(path, out.data, out.len);
    return path;
}

static void the_schema_accepts_it(void **state) {
    (void)state;
    struct seed seed = image_fixture_seed();
    const char *users[] = {"root", "trainee"};
    for (size_t i = 0; i < 2; i++) {
        seed.ssh_user = users[i];
        cleanup_free char *path = write_user_data(&seed);
        cleanup_buffer struct buffer out = {0};
        int status = image_fixture_run(&out, CLOUD_INIT "schema -c %s", path);
        assert_non_null(strstr(buffer_str(&out), "Valid cloud-config"));
        assert_int_equal(status, 0);
    }
}

#define KEYS                                                                                                           \
    "\"ssh_deletekeys\": true, \"ssh_keys\": {\"ed25519_private\": 399, \"ed25519_public\": \"ssh-ed25519 "            \
    "AAAAC3NzaC1lZDI1NTE5AAAAIPYI/xJMIe2b7YxswkCWLj86cN4eQfAiQHAxr7/o7BJy lab/kvm1\"}, "
#define ROOT                                                                                                           \
    "{\"name\": \"root\", \"ssh_authorized_keys\": [\"ssh-ed25519 "                                                    \
    "AAAAC3NzaC1lZDI1NTE5AAAAIGZha2VmYWtlZmFrZWZha2VmYWtlZmFrZWZha2VmYWtl nestor\"]}"

static void the_spec_adds_but_never_overrules_the_identity(void **state) {
    (void)state;
    static const struct {
        const char *extra, *want;
    } cases[] = {
        {NULL, "{\"disable_root\": false, \"hostname\": \"web1\", \"locale\": \"C.UTF-8\", " KEYS
               "\"ssh_pwauth\": false, \"users\": [" ROOT "]}\n"},
        {"#cloud-config\nhostname: evil\ndisable_root: true\nssh_deletekeys: false\nssh_keys: {rsa_private: evil}\n"
         "users:\n  - name: root\n    ssh_authorized_keys: [evil]\n  - name: al\n    gecos: \xc3\x84l\n"
         "locale: de_DE.UTF-8\nssh_pwauth: true\npackages: [htop]\n",
         "{\"disable_root\": false, \"hostname\": \"web1\", \"locale\": \"de_DE.UTF-8\", \"packages\": "
         "[\"htop\"], " KEYS "\"ssh_pwauth\": true, \"users\": [" ROOT
         ", {\"name\": \"root\", \"ssh_authorized_keys\": [\"evil\"]}, {\"gecos\": \"\\u00c4l\", \"name\": "
         "\"al\"}]}\n"},
        {"#cloud-config\nmerge_how: list(append)+dict(no_replace,recurse_list)+str()\nhostname: evil\n",
         "{\"disable_root\": false, \"hostname\": \"web1\", \"locale\": \"C.UTF-8\", " KEYS
         "\"ssh_pwauth\": false, \"users\": [" ROOT "]}\n"},
        {"#cloud-config\n[broken\n", "{\"disable_root\": false, \"hostname\": \"web1\", \"locale\": \"C.UTF-8\", " KEYS
                                     "\"ssh_pwauth\": false, \"users\": [" ROOT "]}\n"},
        {"Content-Type: multipart/mixed; boundary=\"=nestor-0\"\nMIME-Version: 1.0\n\n--=nestor-0\n"
         "Content-Type: text/cloud-config\n\n#cloud-config\npackages: [a]\n\n--=nestor-0--\n",
         "{\"disable_root\": false, \"hostname\": \"web1\", \"locale\": \"C.UTF-8\", \"packages\": [\"a\"], " KEYS
         "\"ssh_pwauth\": false, \"users\": [" ROOT "]}\n"},
        {"#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    hostname: evil\n    packages: [b]\n",
         "{\"disable_root\": false, \"hostname\": \"web1\", \"locale\": \"C.UTF-8\", \"packages\": [\"b\"], " KEYS
         "\"ssh_pwauth\": false, \"users\": [" ROOT "]}\n"},
    };
    cleanup_free char *script = image_fixture_path("merge.py");
    image_fixture_write_text(script, merge);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seed seed = image_fixture_seed();
        seed.extra_user_data = cases[i].extra;
        cleanup_free char *path = write_user_data(&seed);
        cleanup_buffer struct buffer out = {0};
        image_fixture_run(&out, PYTHON "%s %s 2>/dev/null", script, path);
        assert_string_equal(buffer_str(&out), cases[i].want);
    }
}

int main(void) {
    cleanup_buffer struct buffer out = {0};
    if (image_fixture_run(&out, PYTHON "-c 'import cloudinit.user_data'") != 0) {
        fprintf(stderr, "skipped: no cloud-init here (sh tests/support/cloud_init.sh DIR; NESTOR_CLOUD_INIT=DIR)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_accepts_it),
        cmocka_unit_test(the_spec_adds_but_never_overrules_the_identity),
    };
    return cmocka_run_group_tests(tests, image_fixture_begin, image_fixture_end);
}
