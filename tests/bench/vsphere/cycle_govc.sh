#!/bin/sh
# cycle_govc.sh up|down PREFIX COUNT JOBS: ceiling.go's work as it is written with govc, one process per step, several
# machines at once. govc keeps its session in a file between them. The environment is ceiling.go's, and GOVC.
set -eu
verb=$1 prefix=$2 count=$3 jobs=$4
export GOVC_PERSIST_SESSION=true
"$GOVC" about >/dev/null

# shellcheck disable=SC2016 # sh below fills them in
case $verb in
up)
    work='"$GOVC" vm.clone -vm "$TEMPLATE" -folder "$FOLDER" -pool "$RESOURCE_POOL" -on=false "$1" &&
        "$GOVC" vm.change -vm "$FOLDER/$1" -nested-hv-enabled=true -e SET.guest.ipAddress=127.0.0.1 &&
        "$GOVC" vm.power -on "$FOLDER/$1" &&
        test "$("$GOVC" vm.ip "$FOLDER/$1")" = 127.0.0.1 &&
        test "$("$GOVC" object.collect -s "$FOLDER/$1" config.nestedHVEnabled)" = true'
    ;;
down)
    work='"$GOVC" vm.power -off -force "$FOLDER/$1" && "$GOVC" vm.destroy "$FOLDER/$1"'
    ;;
esac
seq -f "$prefix-%.0f" "$count" | xargs -P "$jobs" -I NAME sh -c "{ $work; } >/dev/null || exit 255" sh NAME
