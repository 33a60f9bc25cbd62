/* All commands, in the order of the help. */
#include "cli/cli.h"

extern const struct cli_command cmd_init, cmd_validate, cmd_plan, cmd_up, cmd_status, cmd_ssh, cmd_exec, cmd_console,
    cmd_verify, cmd_down, cmd_forget, cmd_gc, cmd_adopt, cmd_doctor, cmd_prepare, cmd_image, cmd_graph, cmd_events,
    cmd_completion;

const struct cli_command *const commands[] = {
    &cmd_init,    &cmd_validate, &cmd_plan,  &cmd_up,     &cmd_status,     &cmd_ssh,   &cmd_exec,
    &cmd_console, &cmd_verify,   &cmd_down,  &cmd_forget, &cmd_gc,         &cmd_adopt, &cmd_doctor,
    &cmd_prepare, &cmd_image,    &cmd_graph, &cmd_events, &cmd_completion, NULL,
};
