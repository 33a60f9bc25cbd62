#!/bin/sh
# by_hand.sh up|down DIR IMAGES: what `nestor up templates/labs/quickstart.yaml` does, as an administrator would write it
# down: the same images, the same QEMU, the same domains, pinned host keys, and no step that is not needed for it.
#
# IMAGES is nestor's folder of built images. The machines are kvm1, and web1 and web2 in it; all files are in DIR.
set -eu
verb=$1 dir=$2 images=$3
port_file=$dir/port
limit=$(($(date +%s) + ${BY_HAND_LIMIT:-900}))

in_time() { [ "$(date +%s)" -lt "$limit" ] || { echo "by hand: gave up waiting for $1" >&2 && exit 1; }; }

down() {
    pid=$(cat "$dir/pid" 2>/dev/null || :)
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm -rf "$dir"
}
if [ "$verb" = down ]; then
    down
    exit
fi

# --- keys, seeds ---

mkdir -p "$dir"
ssh-keygen -q -t ed25519 -N '' -C user -f "$dir/user"
: >"$dir/known_hosts"

# seed NAME: a NoCloud volume with a host key that the client knows before the machine boots
seed() {
    ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$dir/$1.key"
    echo "$1 $(cut -d' ' -f1,2 "$dir/$1.key.pub")" >>"$dir/known_hosts"
    printf 'instance-id: %s-%s\nlocal-hostname: %s\n' "$1" "$$" "$1" >"$dir/meta-data"
    {
        printf '#cloud-config\nhostname: %s\ndisable_root: false\nssh_deletekeys: true\nssh_keys:\n' "$1"
        printf '  ed25519_private: |\n'
        sed 's/^/    /' "$dir/$1.key"
        printf '  ed25519_public: %s\n' "$(cat "$dir/$1.key.pub")"
        printf 'locale: C.UTF-8\nssh_pwauth: false\nusers:\n  - name: root\n    ssh_authorized_keys:\n'
        printf '      - %s\n' "$(cat "$dir/user.pub")"
    } >"$dir/user-data"
    mkfs.vfat -C -n CIDATA "$dir/$1.img" 64 >/dev/null
    mcopy -i "$dir/$1.img" "$dir/meta-data" "$dir/user-data" ::
}
seed kvm1
seed web1
seed web2

# --- the guest hypervisor ---

port=$(shuf -i 20000-32000 -n 1)
echo "$port" >"$port_file"
cat >"$dir/config" <<END
Host *
    User root
    IdentityFile $dir/user
    IdentitiesOnly yes
    UserKnownHostsFile $dir/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 5
Host kvm1
    HostName 127.0.0.1
    HostKeyAlias kvm1
    Port $port
    ControlMaster auto
    ControlPath $dir/control
    ControlPersist yes
END
to() { ssh -F "$dir/config" "$@"; }

# KVM if it can nest, else emulation of a CPU with svm.
if grep -Eqw 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
    accel=kvm cpu=host
else
    accel=tcg,thread=multi cpu=max,-la57,+svm,+npt
fi
qemu-img create -q -f qcow2 -b "$images/debian-kvm/disk.qcow2" -F qcow2 "$dir/kvm1.qcow2"
setsid qemu-system-x86_64 -name guest=by-hand -pidfile "$dir/pid" \
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny -nodefaults -no-user-config \
    -display none -machine q35,graphics=off -accel "$accel" -cpu "$cpu" -smp cpus=2 -m size=1024M \
    -device virtio-rng-pci \
    -drive "if=none,id=disk,discard=unmap,format=qcow2,file=$dir/kvm1.qcow2" \
    -device virtio-blk-pci,drive=disk,bootindex=1 \
    -drive "if=none,id=seed,read-only=on,format=raw,file=$dir/kvm1.img" -device virtio-blk-pci,drive=seed \
    -netdev "user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:$port-:22" \
    -device virtio-net-pci,netdev=net0,romfile= -serial "file:$dir/console" \
    -kernel "$images/debian-kvm/vmlinuz" -initrd "$images/debian-kvm/initrd.img" \
    -append "$(cat "$images/debian-kvm/cmdline")" </dev/null >"$dir/qemu.log" 2>&1 &

until to kvm1 true 2>/dev/null; do
    in_time kvm1
    sleep 0.5
done

# --- the proof, and the nested guests ---

to kvm1 "grep -Eow '(vmx|svm)' /proc/cpuinfo && test -c /dev/kvm && exec 3<>/dev/kvm" >/dev/null

base=/var/lib/libvirt/images/by-hand
to kvm1 "mkdir -p $base && chmod 711 $base"
scp -q -F "$dir/config" "$images/tiny/disk.qcow2" kvm1:$base/tiny.qcow2
scp -q -F "$dir/config" "$dir/web1.img" "$dir/web2.img" kvm1:$base/
echo "$(sha256sum <"$images/tiny/disk.qcow2" | cut -d' ' -f1)  $base/tiny.qcow2" | to kvm1 "sha256sum -c --quiet"

# domain NAME MAC
domain() {
    cat <<END
<domain type="kvm">
  <name>$1</name>
  <memory unit="bytes">134217728</memory>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type><boot dev="hd"/></os>
  <features><acpi/><apic/></features>
  <cpu mode="host-passthrough">
    <feature policy="disable" name="svm"/>
    <feature policy="disable" name="vmx"/>
  </cpu>
  <clock offset="utc"/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/><source file="$base/$1.qcow2"/><target dev="vda" bus="virtio"/>
    </disk>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/><source file="$base/$1.img"/><target dev="vdb" bus="virtio"/><readonly/>
    </disk>
    <interface type="network">
      <mac address="$2"/><source network="default"/><model type="virtio"/>
    </interface>
    <serial type="file"><source path="$base/$1.log"/><target port="0"/></serial>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
    <memballoon model="none"/>
  </devices>
</domain>
END
}
domain web1 52:54:00:00:00:01 >"$dir/web1.xml"
domain web2 52:54:00:00:00:02 >"$dir/web2.xml"
scp -q -F "$dir/config" "$dir/web1.xml" "$dir/web2.xml" kvm1:$base/
to kvm1 "set -e; cd $base
    virsh -q net-info default | grep -q 'Active: *yes' || virsh -q net-start default
    for name in web1 web2; do
        qemu-img create -q -f qcow2 -b $base/tiny.qcow2 -F qcow2 \$name.qcow2
        virsh -q define \$name.xml
        virsh -q start \$name
    done" >/dev/null

# lease MAC: the address libvirt's DHCP server gave to it
lease() {
    while :; do
        address=$(to kvm1 "virsh -q net-dhcp-leases default --mac $1" | grep -o '[0-9.]*/[0-9]*' | tail -n 1)
        [ -z "$address" ] || break
        in_time "the lease of $1"
        sleep 1
    done
    echo "${address%/*}"
}

# ready NAME MAC
ready() {
    address=$(lease "$2")
    until to -o ProxyJump=none -o "ProxyCommand=ssh -F $dir/config -W $address:22 kvm1" "$1" true 2>/dev/null; do
        in_time "$1"
        sleep 0.5
    done
}
ready web1 52:54:00:00:00:01 &
one=$!
ready web2 52:54:00:00:00:02
wait $one
to -O exit kvm1 2>/dev/null
