/* The parts of up, down and plan that they share. */
#ifndef NESTOR_CLI_LAB_WORK_H
#define NESTOR_CLI_LAB_WORK_H

#include "cli/session.h"

/* Observes and plans. Messages about templates nobody can provide come here, before anything is made. */
int work_plan_up(struct session *s, struct event_sink *sink, struct plan **ret, struct error *err) NESTOR_CHECKED;
/* Runs a plan with progress on standard error. Returns 0 or -1 with the first failure; *ret_done: steps done. */
int work_run(struct session *s, struct plan *plan, const struct capability *hosts, unsigned parallel,
             struct progress *progress, struct run_result *ret, struct error *err) NESTOR_CHECKED;
/* After a run that was not whole: 4 if some steps were done, else what the error says. Prints the error. */
int work_exit_code(const struct run_result *result, const struct error *err);

/* A guest hypervisor that does not answer within this time counts as not answering. */
#define GUEST_OBSERVE_MS 20000

#endif
