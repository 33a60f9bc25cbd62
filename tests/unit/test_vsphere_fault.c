/* vSphere's typed faults as errors: code, number, words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <libxml/parser.h>

#include "drivers/vsphere/fault.h"
#include "drivers/vsphere/soap.h"

#define XSI "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\""

static struct error of(const char *xml, const char *message) {
    xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, 0);
    assert_non_null(doc);
    struct error err = {0};
    assert_int_equal(vim_fault_error(xmlDocGetRootElement(doc), message, "host vc", &err), -1);
    xmlFreeDoc(doc);
    return err;
}

static void each_fault_is_found_by_its_name(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum vim_fault fault;
        enum error_code code;
        bool retry;
    } all[] = {
#define X(symbol, name, code, retry, mend) {name, symbol, code, retry},
        VIM_FAULTS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(vim_fault_find(all[i].name), all[i].fault);
        assert_string_equal(vim_fault_name(all[i].fault), all[i].name);
        assert_int_not_equal(all[i].code, ERR_CANCELLED); /* which says that our user did it */
        cleanup_free char *xml = xasprintf("<f " XSI " xsi:type='%s'/>", all[i].name);
        struct error err = of(xml, "no");
        assert_int_equal(err.code, all[i].code);
        assert_int_equal(err.retry, all[i].retry);
        assert_true(vim_fault_is(&err, all[i].fault) && vim_fault_any(&err));
        assert_string_equal(err.subject, "host vc");
    }
    assert_int_equal(vim_fault_find("NotAFault"), VIM_OTHER);
}

static void no_other_error_passes_for_a_fault(void **state) {
    (void)state;
    struct error err = {0};
    for (long native = -200; native < 1000; native++) { /* errno values, libssh2 and libcurl codes, HTTP statuses */
        err.native = native;
        assert_false(vim_fault_any(&err));
    }
}

static void words_are_the_servers_with_what_the_fault_names(void **state) {
    (void)state;
    struct error err =
        of("<f xmlns='urn:vim25' " XSI " xsi:type='vim25:NoPermission' xmlns:vim25='urn:vim25'>"
           "<object type='Folder'>group-v3</object><privilegeId>VirtualMachine.Inventory.Create</privilegeId></f>",
           "Permission to perform this operation was denied.");
    assert_int_equal(err.code, ERR_AUTH);
    assert_string_equal(err.cause, "NoPermission for want of the privilege VirtualMachine.Inventory.Create on Folder "
                                   "group-v3: Permission to perform this operation was denied.");
    assert_string_equal(err.mend, "give the user the privileges listed in docs/hosts/vsphere.md");

    err = of("<f " XSI " xsi:type='InvalidArgument'><invalidProperty>spec.pool</invalidProperty></f>", NULL);
    assert_string_equal(err.cause, "InvalidArgument in 'spec.pool'");
    err = of("<f " XSI " xsi:type='GenericVmConfigFault'><faultMessage><key>k</key><message>Could not open 'x.vmdk'"
             "</message></faultMessage><reason>of a lock</reason></f>",
             "A general error");
    assert_string_equal(err.cause, "GenericVmConfigFault because of a lock: A general error; Could not open 'x.vmdk'");
}

static void unknown_fault_keeps_the_servers_words(void **state) {
    (void)state;
    struct error err = of("<f " XSI " xsi:type='BrandNewFault'/>", "something new");
    assert_int_equal(err.code, ERR_PROCESS);
    assert_int_equal(err.native, VIM_OTHER);
    assert_false(err.retry);
    assert_string_equal(err.cause, "BrandNewFault: something new");
}

static void fault_without_a_type_is_known_by_its_element(void **state) {
    (void)state;
    struct error err = of("<InvalidLoginFault/>", "Cannot complete login");
    assert_true(vim_fault_is(&err, VIM_INVALID_LOGIN));
    assert_string_equal(err.mend, "check 'username' and the password the lab file points at");
    err = (struct error){0};
    vim_fault_error(NULL, NULL, "host vc", &err);
    assert_int_equal(err.native, VIM_OTHER);
    assert_string_equal(err.cause, "a fault of unknown type");
}

static void hostile_fault_is_bounded_and_printable(void **state) {
    (void)state;
    cleanup_buffer struct buffer xml = {0};
    buffer_puts(&xml, "<f " XSI " xsi:type='Invalid&#x9b;31mLogin'><name>");
    for (int i = 0; i < 5000; i++)
        buffer_puts(&xml, "&#x1f600;");
    buffer_puts(&xml, "</name></f>");
    cleanup_free char *message = xmalloc(100001);
    memset(message, '\x1b', 100000);
    message[100000] = '\0';
    struct error err = of(buffer_str(&xml), message);
    assert_int_equal(err.native, VIM_OTHER);
    assert_memory_equal(err.cause, "a fault of unknown type", 23);
    assert_null(strchr(err.cause, '\x1b'));
    assert_null(strstr(err.cause, "\xc2\x9b"));
    assert_true(strlen(err.cause) < sizeof err.cause);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_is_found_by_its_name),
        cmocka_unit_test(no_other_error_passes_for_a_fault),
        cmocka_unit_test(words_are_the_servers_with_what_the_fault_names),
        cmocka_unit_test(unknown_fault_keeps_the_servers_words),
        cmocka_unit_test(fault_without_a_type_is_known_by_its_element),
        cmocka_unit_test(hostile_fault_is_bounded_and_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
