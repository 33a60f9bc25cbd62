/* templates/lab.schema.json says the same as the key tables of the parser, key by key. */
#include <jansson.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "spec/draft.h"
#include "spec/limits.h"
#include "spec_lab.h"

static int load_schema(void **state) {
    cleanup_free char *text = spec_source_file("templates/lab.schema.json");
    json_error_t error;
    *state = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!*state)
        print_error("templates/lab.schema.json:%d: %s\n", error.line, error.text);
    return *state ? 0 : -1;
}

static int free_schema(void **state) {
    json_decref(*state);
    return 0;
}

static bool is_reserved(const struct field *f) { return f->decode == decode_reserved; }

static const json_t *definition_of(const json_t *schema, const struct keyset *keys) {
    if (keys == &lab_keys)
        return schema;
    const json_t *found = json_object_get(json_object_get(schema, "definitions"), keys->name);
    if (!found)
        fail_msg("the schema has no definition '%s'", keys->name);
    return found;
}

/* "#/definitions/defaults/properties/cpus": followed once, which is all that the schema does with properties. */
static const json_t *property_of(const json_t *schema, const struct keyset *keys, const char *key) {
    const json_t *found = json_object_get(json_object_get(definition_of(schema, keys), "properties"), key);
    const char *ref = json_string_value(json_object_get(found, "$ref"));
    if (!ref)
        return found;
    assert_int_equal(strncmp(ref, "#/", 2), 0);
    cleanup_free char *path = xstrdup(ref + 2);
    found = schema;
    for (char *rest = path, *part; (part = strsep(&rest, "/"));)
        found = json_object_get(found, part);
    return found;
}

static const struct field *field_of(const struct keyset *keys, const char *key) {
    for (; keys; keys = keys->more)
        for (const struct field *f = keys->fields; f->key; f++)
            if (strcmp(f->key, key) == 0)
                return f;
    return NULL;
}

static void for_each_field(const json_t *schema,
                           void (*fn)(const json_t *schema, const struct keyset *keys, const struct field *f)) {
    for (size_t i = 0; keysets[i]; i++)
        for (const struct keyset *keys = keysets[i]; keys; keys = keys->more)
            for (const struct field *f = keys->fields; f->key; f++)
                fn(schema, keysets[i], f);
}

static void check_described(const json_t *schema, const struct keyset *keys, const struct field *f) {
    const json_t *property = property_of(schema, keys, f->key);
    if (is_reserved(f)) {
        assert_null(property);
        return;
    }
    if (!property)
        fail_msg("'%s' of '%s' is not in the schema", f->key, keys->name);
    assert_string_equal(json_string_value(json_object_get(property, "description")), f->help);
}

static void every_key_is_described(void **state) { for_each_field(*state, check_described); }

static void no_key_is_invented(void **state) {
    for (size_t i = 0; keysets[i]; i++) {
        const char *key;
        json_t *value;
        json_object_foreach(json_object_get(definition_of(*state, keysets[i]), "properties"), key, value) {
            if (!field_of(keysets[i], key))
                fail_msg("the schema's key '%s' of '%s' is not the parser's", key, keysets[i]->name);
        }
    }
    json_t *definitions = json_object_get(*state, "definitions");
    size_t n = 0;
    while (keysets[n])
        n++;
    assert_int_equal(json_object_size(definitions), n - 1); /* the lab is the schema itself */
}

static bool is_required(const json_t *definition, const char *key) {
    const json_t *required = json_object_get(definition, "required"), *name;
    size_t i;
    json_array_foreach(required, i, name) if (strcmp(json_string_value(name), key) == 0) return true;
    return false;
}

static void check_required(const json_t *schema, const struct keyset *keys, const struct field *f) {
    if (is_required(definition_of(schema, keys), f->key) != f->required)
        fail_msg("the schema and the parser differ on whether '%s' of '%s' is required", f->key, keys->name);
}

static void the_same_keys_are_required(void **state) { for_each_field(*state, check_required); }

static void check_number(const json_t *schema, const struct keyset *keys, const struct field *f) {
    if (f->decode != decode_number || f->unit != &unit_count)
        return;
    const json_t *property = property_of(schema, keys, f->key);
    assert_string_equal(json_string_value(json_object_get(property, "type")), "integer");
    assert_int_equal(json_integer_value(json_object_get(property, "minimum")), f->min);
    assert_int_equal(json_integer_value(json_object_get(property, "maximum")), f->max);
}

static void numbers_have_the_same_bounds(void **state) { for_each_field(*state, check_number); }

static void check_choices(const json_t *schema, const struct keyset *keys, const struct field *f) {
    if (f->decode != decode_choice)
        return;
    const json_t *names = json_object_get(property_of(schema, keys, f->key), "enum");
    size_t n = 0;
    for (; f->choices[n].name; n++)
        assert_string_equal(json_string_value(json_array_get(names, n)), f->choices[n].name);
    assert_int_equal(json_array_size(names), n);
}

static void choices_are_the_same(void **state) { for_each_field(*state, check_choices); }

static void other_keys_are_refused(void **state) {
    for (size_t i = 0; keysets[i]; i++) {
        const json_t *definition = definition_of(*state, keysets[i]);
        assert_int_equal(json_is_false(json_object_get(definition, "additionalProperties")), !keysets[i]->other);
        assert_non_null(json_object_get(json_object_get(definition, "patternProperties"), "^x-"));
    }
}

/* The pattern must agree with the parser on each word: JSON Schema's patterns here are POSIX ones as well. */
static void check_pattern(const json_t *property, bool (*accepts)(const char *), const char *const *words, size_t n) {
    regex_t regex;
    const char *pattern = json_string_value(json_object_get(property, "pattern"));
    assert_non_null(pattern);
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    for (size_t i = 0; i < n; i++)
        if ((regexec(&regex, words[i], 0, NULL, 0) == 0) != accepts(words[i]))
            fail_msg("the pattern %s and the parser differ on '%s'", pattern, words[i]);
    regfree(&regex);
}

static bool accepts_size(const char *text) {
    uint64_t bytes;
    return size_parse(text, &bytes, NULL) == 0;
}

static bool accepts_duration(const char *text) {
    uint64_t seconds;
    return unit_seconds.read(text, &seconds);
}

static void patterns_agree(void **state) {
    static const char *const names[] = {"a",
                                        "kvm-1",
                                        "7",
                                        "",
                                        "A",
                                        "-a",
                                        "a-",
                                        "a_b",
                                        "a.b",
                                        "a b",
                                        "abcdefghijklmnopqrstuvwxyz0123456789abcdef",
                                        "abcdefghijklmnopqrstuvwxyz0123456789abcdefg"};
    static const char *const sizes[] = {"1",   "1B",  "1 B",  "1KiB",  "1.5GiB", "20GB",  "20 gb",         "512M",
                                        "1Gi", "1.5", "1.5B", "1.MiB", ".5GiB",  "-1GiB", "1.0123456789G", "1PiB",
                                        "",    "MiB", "1  M", "1 ",    "1e3"};
    static const char *const durations[] = {"90s", "5m", "1h", "45", "", "s", "1.5h", "-1s", "1d", "123456789"};
#define COUNT(a) (sizeof(a) / sizeof *(a))
    check_pattern(property_of(*state, &lab_keys, "lab"), name_is_valid, names, COUNT(names));
    check_pattern(property_of(*state, &settings_keys, "memory"), accepts_size, sizes, COUNT(sizes));
    check_pattern(property_of(*state, &settings_keys, "disk"), accepts_size, sizes, COUNT(sizes));
    check_pattern(property_of(*state, &timeouts_keys, "boot"), accepts_duration, durations, COUNT(durations));
    static const char *const maps[] = {"hosts", "templates", "machines"};
    for (size_t i = 0; i < COUNT(maps); i++) {
        const json_t *keys = json_object_get(property_of(*state, &lab_keys, maps[i]), "propertyNames");
        check_pattern(keys, name_is_valid, names, COUNT(names));
    }
}

static void free_texts_have_the_same_bounds(void **state) {
    const json_t *template = property_of(*state, &settings_keys, "template");
    assert_int_equal(json_integer_value(json_object_get(template, "maxLength")), SPEC_TEMPLATE_MAX);
    const json_t *extra = property_of(*state, &machine_keys, "extra-config");
    assert_int_equal(json_integer_value(json_object_get(extra, "maxProperties")), SPEC_EXTRA_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_described),
        cmocka_unit_test(no_key_is_invented),
        cmocka_unit_test(the_same_keys_are_required),
        cmocka_unit_test(numbers_have_the_same_bounds),
        cmocka_unit_test(choices_are_the_same),
        cmocka_unit_test(other_keys_are_refused),
        cmocka_unit_test(patterns_agree),
        cmocka_unit_test(free_texts_have_the_same_bounds),
    };
    return cmocka_run_group_tests(tests, load_schema, free_schema);
}
