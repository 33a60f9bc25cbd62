#!/bin/sh
# The completion scripts, asked as the shells ask them.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"
requires bash

# Who presses a key in a new home makes nothing there.
for word in labs machines hosts images; do
    run 0 completion $word
    is "$out" ""
    got=0
    env -u NESTOR_HOME -u XDG_STATE_HOME -u XDG_CACHE_HOME HOME="$work/new" "$nestor" completion $word >out || got=$?
    is "$got $(cat out)" "0 "
done
[ ! -e "$NESTOR_HOME" ] || fail "it made $NESTOR_HOME"
[ ! -e new ] || fail "it made a home"

lab one
run 0 up one.yaml --yes
mkdir -p xdg new/.local/state
cp -r "$NESTOR_HOME" xdg/nestor
cp -r "$NESTOR_HOME" new/.local/state/nestor
is "$(env -u NESTOR_HOME XDG_STATE_HOME="$work/xdg" "$nestor" completion labs)" one
is "$(env -u NESTOR_HOME XDG_STATE_HOME=relative HOME="$work/new" "$nestor" completion labs)" one
is "$("$nestor" completion hosts)" local
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
starters=$(cd "$NESTOR_TEMPLATES/labs" && echo *.yaml | sed 's/[.]yaml//g')
is "$(offers init --template '')" "$starters"
is "$(offers init -t q)" quickstart
is "$(offers init --name '')" ""
is "$(offers graph --format = d)" dot # as bash parts it
is "$(offers graph --format =)" "dot mermaid"
is "$(offers graph --format=d)" --format=dot # where COMP_WORDBREAKS is without '='
is "$(offers help '')" "$(offers '' | sed 's/ help$//')"
is "$(offers help "do")" "down doctor"
is "$(offers image build debian-k)" debian-kvm
is "$(offers image --json build ti)" tiny
is "$(offers image rm tiny '')" ""
is "$(offers forget one '')" local
is "$(offers forget --yes one loc)" local
is "$(offers status one '')" ""
is "$(offers exec -t 5 one/kvm1/)" one/kvm1/web1
is "$(offers exec -- one/kvm1/)" one/kvm1/web1
for last in '' -- --t one; do
    is "$(offers exec one/kvm1 -- "$last")" ""
    is "$(offers ssh one/kvm1 "$last")" ""
done
is "$(offers validate one.yaml on)" one.yaml
is "$(offers plan one.yaml on)" ""
is "$(offers doctor --file on)" one.yaml
is "$(offers completion b)" bash
is "$(offers nonsense '')" ""
for command in $(offers ''); do
    [ "$command" = help ] || is "$(offers "$command" --hel)" --help
done

run 0 completion zsh
cp out _nestor
has "$out" "'1:what:(list build verify rm)' \\
            '2:image: _nestor_names images'
"
has "$out" "'1:machine: _nestor_names machines' \\
            '*::command: '
"
has "$out" "'1:lab:_nestor_labs' \\
            '2:host: _nestor_names hosts'
"
has "$out" "{-f+,--format=}'[Graphviz (the default), or Mermaid for Markdown]:value:(dot mermaid)'"
has "$out" ":STARTER: _nestor_names starters'"
has "$out" "'*:file:_files'"
has "$out" "help) _arguments '1:command:(init validate "
if command -v zsh >/dev/null; then
    zsh -n _nestor
    zsh -fc 'autoload -Uz compinit; compinit -D; . ./_nestor; [[ $_comps[nestor] == _nestor ]]'
fi
