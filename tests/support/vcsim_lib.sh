# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with the script that sources this
# A real vcsim for shell tests, with or without the proxy before it (vcsim.h is the same for C). Source cli_lib.sh
# first, or set $place (a folder that is removed at the end) and end the processes in $background.
#
#   . "$NESTOR_SOURCE_DIR/tests/support/vcsim_lib.sh"
#   vcsim_start                      a vCenter: one datacenter DC0, one cluster DC0_C0 of three hosts
#   vcsim_template gh-template       a machine to clone, off, without disks
#   proxy_start --record calls       $proxy_url and $proxy_thumbprint are what nestor gets
#   control 'CloneVM_Task fault=SystemError times=1'
#
# vcsim and govc are those of vcsim_build.sh, or $NESTOR_VCSIM and $NESTOR_GOVC. The test is skipped where neither is.
vcsim_here=${NESTOR_SOURCE_DIR:?}/tests/support
vcsim_program=${NESTOR_VCSIM:-} govc_program=${NESTOR_GOVC:-}
for cache in "${vcsim_program%/*}" "${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}/nestor/vcsim"; do
    [ -x "$cache/vcsim" ] && [ -x "$cache/govc" ] && break
    cache=
done
: "${vcsim_program:=$cache/vcsim}" "${govc_program:=$cache/govc}"
vcsim_python=/usr/bin/python3 # Debian's; another one may be first in PATH
[ -x $vcsim_python ] || vcsim_python=python3
for needed in "$vcsim_program" "$govc_program" $vcsim_python setpriv openssl jq; do
    command -v "$needed" >/dev/null || {
        echo "skipped: there is no $needed (vcsim and govc: sh tests/support/vcsim_build.sh)"
        exit 77
    }
done

if ! command -v await >/dev/null; then
    fail() { echo "vcsim: $1" >&2 && exit 1; }
    await() {
        tries=0
        until "$@"; do
            tries=$((tries + 1))
            [ $tries -lt 1000 ] || fail "waited in vain for: $*"
            sleep 0.02
        done
    }
fi

# Characters that XML, URLs and shells have views on; long enough to be searched for.
vcsim_user='administrator@vsphere.local' vcsim_password="s3cret<&'\"%>word"
vcsim_count=0 background=${background:-}
unset GOVC_DATACENTER GOVC_INSECURE GOVC_DEBUG
export GOVC_PERSIST_SESSION=false GOVMOMI_HOME="$place/govmomi"
export GOVC_USERNAME="$vcsim_user" GOVC_PASSWORD="$vcsim_password"

# vcsim_host URL THUMBPRINT: what a lab file says of a host named vc, whose password is in VC_PASSWORD
export VC_PASSWORD="$vcsim_password"
vcsim_host() {
    printf '  vc:\n    driver: vsphere\n    url: %s\n    username: %s\n' "$1" "$vcsim_user"
    printf '    password: { env: VC_PASSWORD }\n    tls: { thumbprint: "%s" }\n' "$2"
}

# certificate NAME: NAME.pem and NAME.key, for localhost and 127.0.0.1; its SHA-256 thumbprint to standard output
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$place/$1.key" -out "$place/$1.pem" 2>/dev/null
    openssl x509 -in "$place/$1.pem" -noout -fingerprint -sha256 | sed 's/.*=//'
}

# vcsim_says PID DIR TEXT: until the process has written that to DIR/out; what it logged if it ends instead.
vcsim_says() {
    until grep -qs "$3" "$2/out"; do
        kill -0 "$1" 2>/dev/null || fail "it did not start: $(tail -n 3 "$2/log")"
        sleep 0.02
    done
}

# vcsim_start [vpx|esx] [OPTION...]: options are vcsim's. Sets vcsim_url, vcsim_thumbprint, vcsim_ca (a PEM file) and
# vcsim_pid, and makes it what govc talks to. Several may run: keep the variables of the first.
vcsim_start() {
    case ${1:-} in
    vpx | esx) vcsim_mode=$1 && shift ;;
    *) vcsim_mode=vpx ;;
    esac
    case $vcsim_mode in
    esx) set -- -esx "$@" ;;
    vpx) set -- -standalone-host 0 "$@" ;;
    esac
    vcsim_count=$((vcsim_count + 1))
    vcsim_dir=$place/vcsim$vcsim_count
    mkdir "$vcsim_dir"
    vcsim_thumbprint=$(certificate "vcsim$vcsim_count")
    vcsim_ca=$place/vcsim$vcsim_count.pem
    # It ends with this shell, however that ends. Its files go to TMPDIR.
    TMPDIR=$vcsim_dir setpriv --pdeathsig TERM "$vcsim_program" -l 127.0.0.1:0 -username "$vcsim_user" \
        -password "$vcsim_password" -tlscert "$vcsim_ca" -tlskey "$place/vcsim$vcsim_count.key" -vm 1 "$@" \
        </dev/null >"$vcsim_dir/out" 2>"$vcsim_dir/log" &
    vcsim_pid=$!
    background="$background $vcsim_pid"
    vcsim_says $vcsim_pid "$vcsim_dir" GOVC_URL=
    vcsim_url=$(sed -n 's|.*GOVC_URL=https://.*@\([^/@]*/sdk\) .*|https://\1|p' "$vcsim_dir/out")
    export GOVC_URL="$vcsim_url" GOVC_TLS_CA_CERTS="$vcsim_ca"
    await govc about >/dev/null 2>&1
}

# vcsim_stop [PID]
vcsim_stop() {
    kill "${1:-$vcsim_pid}" 2>/dev/null || :
    wait "${1:-$vcsim_pid}" 2>/dev/null || :
}

# proxy_start [OPTION...]: options are the proxy's (vsphere_proxy --help), before the vcsim started last. Its control
# file is $proxy_control. Sets proxy_url, proxy_thumbprint, proxy_ca, proxy_pid. govc goes on talking to vcsim itself.
proxy_start() {
    vcsim_count=$((vcsim_count + 1))
    proxy_dir=$place/proxy$vcsim_count
    mkdir "$proxy_dir"
    proxy_control=$proxy_dir/control
    [ "$vcsim_mode" != esx ] || set -- --esx "$@"
    TMPDIR=$proxy_dir setpriv --pdeathsig TERM $vcsim_python "$vcsim_here/vsphere_proxy" --to "$vcsim_url" \
        --control "$proxy_control" --secret "$vcsim_password" "$@" </dev/null >"$proxy_dir/out" 2>"$proxy_dir/log" &
    proxy_pid=$!
    background="$background $proxy_pid"
    vcsim_says $proxy_pid "$proxy_dir" 'https:.*\.pem'
    read -r proxy_url proxy_thumbprint proxy_ca <"$proxy_dir/out"
}

# proxy_stop: its exit status is 70 if the password was where it must not be.
proxy_stop() {
    kill "$proxy_pid" 2>/dev/null || :
    wait "$proxy_pid" 2>/dev/null
}

# control LINE...: what the proxy does from the next call on; without lines, nothing special. All counts begin anew.
control() {
    printf '%s\n' "$@" >"$proxy_control.new"
    mv "$proxy_control.new" "$proxy_control"
}

govc() { timeout -s KILL 60 "$govc_program" "$@"; }
# The same through the proxy.
govc_via_proxy() { GOVC_URL=$proxy_url GOVC_TLS_CA_CERTS=$proxy_ca govc "$@"; }

# --- what is there ---

# vms: a JSON object per machine or template: {ref, name, power, template, nested, version, annotation, address, extra}
vms() {
    govc object.collect -json -type m / name runtime.powerState config.template config.nestedHVEnabled config.version \
        config.extraConfig config.annotation guest.ipAddress | jq -c '
        def list: if type == "array" then .[] else . end;
        list | (.ChangeSet | map({(.Name): .Val}) | add) as $p
        | {ref: .Obj.Value, name: $p.name, power: $p["runtime.powerState"], template: $p["config.template"],
           nested: $p["config.nestedHVEnabled"], version: $p["config.version"], annotation: $p["config.annotation"],
           address: $p["guest.ipAddress"],
           extra: ([$p["config.extraConfig"].OptionValue[]? | {(.Key): .Value}] | add)}'
}
vm_names() { vms | jq -r .name | sort; }
# vm_count PREFIX: two of the same name are two
vm_count() { vms | jq -r .name | awk -v p="$1" 'index($0, p) == 1 { n++ } END { print n + 0 }'; }
# vm_get NAME FIELD: a field of vms, of the one machine of that name; extra.KEY is written 'extra["KEY"]'
vm_get() { vms | jq -r "select(.name == \"$1\") | .$2"; }
vm_paths() { govc find / -type m | sort; }
# calls_of METHOD [FILTER]: the recorded calls (proxy_start --record calls) of a method, as JSON lines
calls_of() { jq -c "select(.method == \"$1\") | select(${2:-true})" "$place/calls"; }
calls_count() { calls_of "$@" | wc -l; }

# vcsim_template NAME [with-disk] [template] [snapshot] [version=vmx-N]: the model's machine, off, as one to clone from.
# Without a disk unless with-disk says so: all clones of vcsim share their template's disk object, and cloning while one
# is destroyed ends in a panic.
vcsim_template() {
    template=$1
    shift
    case $vcsim_mode in
    esx) model=/ha-datacenter/vm/ha-host_VM0 ;;
    *) model=/DC0/vm/DC0_C0_RP0_VM0 ;;
    esac
    govc vm.power -off -force "$model" >/dev/null
    disk=no
    for word; do
        [ "$word" != with-disk ] || disk=yes
    done
    if [ $disk = no ]; then
        disk=$(govc device.ls -vm "$model" | awk '/^disk-/ { print $1; exit }')
        govc device.remove -vm "$model" "$disk"
    fi
    govc object.rename "$model" "$template" >/dev/null
    model=${model%/*}/$template
    for word; do
        case $word in
        version=*) govc vm.change -vm "$model" -e "SET.config.version=${word#*=}" ;;
        snapshot) govc snapshot.create -vm "$model" base >/dev/null ;;
        template) [ "$vcsim_mode" = esx ] || govc vm.markastemplate "$model" ;;
        esac
    done
}
