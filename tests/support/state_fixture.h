/* A home of its own with an open state, and records to fill it with; for the state tests. */
#ifndef STATE_FIXTURE_H
#define STATE_FIXTURE_H

#include "nestor/state.h"
#include "state_folder.h"

struct state_fixture {
    char *home;
    char *database; /* home/state.db */
    struct state *state;
};
/* cmocka setup and teardown. The teardown also takes a fixture whose state was closed (and set to NULL). */
int state_fixture_setup(void **state);
int state_fixture_teardown(void **state);
#define STATE_TEST(name) cmocka_unit_test_setup_teardown(name, state_fixture_setup, state_fixture_teardown)

/* Closes and opens again: what is read then comes from the disk. */
void state_fixture_reopen(struct state_fixture *f);

/* A lab of that name, recorded; id into id[LAB_ID_LEN + 1]. */
void state_fixture_lab(struct state *s, const char *name, char id[LAB_ID_LEN + 1]);

/* A record with every field set; path and ordinal as given. */
struct machine_record state_fixture_machine(const char *path, uint32_t ordinal);

/* How many rows a query counts; through a connection of its own. */
int64_t state_fixture_count(const struct state_fixture *f, const char *sql);
/* The text a query gives, likewise; caller frees. */
char *state_fixture_text(const char *database, const char *sql);
/* SQL through a connection of its own. */
void state_fixture_exec(const char *database, const char *sql);

#endif
