#!/bin/sh
# The completion scripts, asked as the shells ask them.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"
requires bash

lab one
run 0 up one.yaml --yes
run 0 completion bash
cp out nestor.bash
bash -n nestor.bash
! command -v shellcheck >/dev/null || shellcheck -s bash nestor.bash

# offers WORD...: what bash offers for the last word.
offers() {
    bash -c '. ./nestor.bash
             COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
             _nestor
             echo "${COMPREPLY[*]}"' bash "$nestor" "$@"
}
out="" err=""
is "$(offers st)" status
is "$(offers "do")" "down doctor"
is "$(offers up --y)" --yes
is "$(offers up --q)" --quiet
is "$(offers up '' | tr ' ' '\n' | grep -x one.yaml)" one.yaml
is "$(offers down on)" "one one.yaml"
is "$(offers exec one/)" "one/kvm1 one/kvm1/web1"
is "$(offers ssh one/kvm1/)" one/kvm1/web1
is "$(offers image r)" rm
is "$(offers graph --format '')" "dot mermaid"
is "$(offers graph -f m)" mermaid
is "$(offers init --template '')" ""
is "$(offers completion b)" bash
is "$(offers nonsense '')" ""
for command in $(offers ''); do
    [ "$command" = help ] || is "$(offers "$command" --hel)" --help
done

run 0 completion zsh
cp out _nestor
if command -v zsh >/dev/null; then
    zsh -n _nestor
    zsh -fc 'autoload -Uz compinit; compinit -D; . ./_nestor; [[ $_comps[nestor] == _nestor ]]'
fi
