#!/bin/sh
# events, graph, image, gc and completion, on labs that the fake driver really brought up.
. "$NESTOR_SOURCE_DIR/tests/support/ui_shell.sh"
requires jq sqlite3 bash

run 0 events
is "$out" ""
run 0 gc
is "$out" "Nothing is left over."
has "$err" "note: no lab is recorded, so no host but this machine was asked; 'nestor adopt HOST --file FILE' asks one"
run 0 gc --quiet
is "$out" ""
is "$err" ""
run 0 image verify
is "$out" "No image is built yet."

lab one
lab two
run 0 up one.yaml --yes
has "$out" "svm verified" # the first up ends with the proof
run 0 up two.yaml --yes

# --- events ---
run 0 events one --json
is "$(jq -rs '[.[] | select(.step == "start") | .path] | sort | .[]' out | xargs)" "one/kvm1 one/kvm1/web1"
is "$(jq -rs 'map(.outcome) | unique | .[]' out)" 'done'
is "$(jq -rs 'map(.lab) | unique | .[]' out)" one
is "$(jq -rs 'map(.verb) | unique | .[]' out)" up
is "$(jq -rs '[.[] | select(.ended_at == null or .elapsed_ms == null)] | length' out)" 0
all=$(wc -l <out)
run 0 events one --limit 3
is "$(wc -l <out)" 3
has "$out" "one/kvm1/web1: not there"
has "$(tail -1 out)" "reach"
run 0 events one --limit 1 # the reason was told with an entry that is not shown
has "$out" "one/kvm1/web1: not there"
run 0 events --all
is "$(wc -l <out)" $((2 * all))
has "$out" "one on local: small"
run 0 events one.yaml --json
is "$(jq -rs 'map(.lab) | unique | .[]' out)" one
run 1 events onw
has "$err" "error: onw: no lab 'onw'; labs: one, two"
has "$err" "mend: did you mean 'one'?"
run 1 events one/kvm1 --follow
has "$err" "mend: did you mean 'one'?"

# It ends when nobody reads any more, even if nothing happens after that.
{ got=0 && timeout 60 "$nestor" events --follow --limit 1 2>err || got=$? && echo $got >code; } | head -1 >first
is "$(cat code) $(wc -l <first) $(cat err)" "0 1 "

# What happens while it follows is told; Ctrl-C ends it without fault.
"$nestor" events two --follow --limit 1 >follow 2>/dev/null &
follower=$!
trap 'kill $follower 2>/dev/null || :; rm -rf "$work"' EXIT
n=0
until [ -s follow ]; do # it follows from here on
    n=$((n + 1))
    [ $n -lt 300 ] || fail "it tells nothing of what was"
    sleep 0.1
done
run 0 down two --yes
n=0
until grep -q 'remove .*two/kvm1' follow; do
    n=$((n + 1))
    [ $n -lt 300 ] || fail "the removal did not show: $(cat follow)"
    sleep 0.1
done
kill -INT $follower
got=0
wait $follower || got=$?
is "$got" 0

run 0 events two
has "$out" "two/kvm1/web1" # it is gone, its history is not
run 1 events two/kvm1
has "$err" "no lab 'two/kvm1'; labs: one"

# --- graph ---
run 0 graph one
has "$out" 'subgraph "cluster one/kvm1"'
has "$out" '"one/kvm1/web1" [label="web1\nsmall\nrunning"'
run 0 graph one.yaml --format=mermaid
has "$out" 'web1<br/>small"]'
hasnt "$out" running\"
run 2 graph one --format svg
has "$err" "graph: there is no --format 'svg'"
run 1 graph three
has "$err" "no lab 'three'"

# --- image ---
run 0 image list --json
image=$(jq -r '.[] | select(.built) | .name' out)
has "$image" "small-"
run 0 image verify
has "$out" "$image: whole"
run 0 image verify --quiet
is "$out" ""
run 1 image rm "$image"
has "$err" "error: $image: one/kvm1 is made from it"
has "$err" "mend: take that lab down first: nestor down one"
run 2 image rm
has "$err" "image: rm needs the name of an image"
run 2 image polish
has "$err" "image: there is no 'polish'"
run 1 image build no-such-image
has "$err" "error: no-such-image: there is no recipe of that name"
run 1 image build debian-kmv
has "$err" "mend: did you mean 'debian-kvm'? There are: debian-kvm, tiny" # what is no recipe cannot be built
for action in verify rm; do
    run 1 image $action debian-kmv
    has "$err" "mend: did you mean 'debian-kvm'? There are: debian-kvm, small-"
done
run 1 image verify tiny
has "$err" "error: tiny: the image has not been built yet"
has "$err" "mend: run 'nestor image build tiny'"

# A bit that flips in silence: size and time are as they were, only the hash can tell.
run 0 image list --json
disk=$(jq -r '.[] | select(.built) | .disk' out)
touch -r "$disk" when
printf x | dd of="$disk" bs=1 seek=4096 conv=notrunc 2>/dev/null
touch -r when "$disk"
run 1 image verify
has "$out" "error: $disk: "
has "$out" "expected"
printf '\0' | dd of="$disk" bs=1 seek=4096 conv=notrunc 2>/dev/null
touch -r when "$disk"
run 0 image verify

# --- completion ---
run 0 completion labs
is "$out" one
run 0 completion machines
is "$out" "$(printf 'one/kvm1\none/kvm1/web1')"
run 2 completion fish
has "$err" "completion: there is no 'fish'"

# --- gc: a lab whose record was lost ---
lab three
run 0 up three.yaml --yes
id=$(sqlite3 "$NESTOR_HOME/state.db" "SELECT id FROM labs WHERE name = 'three'")
sqlite3 "$NESTOR_HOME/state.db" "PRAGMA foreign_keys = ON; DELETE FROM labs WHERE name = 'three'"
run 3 gc
has "$out" "three/kvm1  (host local, on, as three.kvm1-"
has "$out" "labs/$id"
hasnt "$out" one/kvm1
has "$err" "'nestor gc --yes' removes this."
run 3 gc --json
is "$(jq -r '.orphans[] | select(.kind == "machine") | .path, .lab_id, .host, .state' out | xargs)" \
    "three/kvm1 $id local on"
run 0 gc --yes
has "$err" "removed three/kvm1"
[ ! -e "$NESTOR_HOME/labs/$id" ] || fail "its directory is still there"
run 0 gc
is "$out" "Nothing is left over."
run 0 status one --json
is "$(jq -r .state out)" up
