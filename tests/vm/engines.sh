#!/bin/sh
# dockerd and podman with their own choice of cgroup driver and AppArmor profile: pyoci beside runc.
#
#   tests/vm/engines.sh            as root, in a virtual machine that runs systemd with cgroup2 alone, and has docker.io, podman, catatonit, runc, busybox
#
# For a machine to throw away: it writes /etc/docker/daemon.json, /etc/containers and /usr/local/bin/pyoci. $PYOCI, by default the tree's
# .venv/bin/pyoci, is the runtime. Each check is made with both, and must give the same output and status but for names; what both are
# wanted to say is a pattern. Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYOCI=${PYOCI:-$PWD/.venv/bin/pyoci}

cannot() { echo "cannot run here: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "not root"
[ -d /run/systemd/system ] || cannot "systemd is not running"
for program in docker dockerd podman catatonit runc busybox; do command -v $program >/dev/null || cannot "no $program"; done

failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -sf "$PYOCI" /usr/local/bin/pyoci
mkdir -p /etc/docker /etc/containers "$work/root/bin" "$work/root/etc" "$work/root/tmp"
echo '{"runtimes": {"pyoci": {"path": "/usr/local/bin/pyoci"}}}' > /etc/docker/daemon.json
printf '[engine]\nruntimes = {pyoci = ["/usr/local/bin/pyoci"]}\n' > /etc/containers/containers.conf
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
cp "$(command -v busybox)" "$work/root/bin/busybox"
for applet in sh cat id sleep echo grep mount mkdir; do ln -sf busybox "$work/root/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' > "$work/root/etc/passwd"
systemctl restart docker || cannot "dockerd does not start"
for engine in docker podman; do tar -C "$work/root" -c . | $engine import - bb >/dev/null 2>&1 || cannot "$engine import fails"; done

# With $engine, $runtime: what the checks call.
engine_run() { $engine ${flag_first:-} run ${flag_run:-} --network none "$@"; }
both_say() {
    what=$1 pattern=$2
    shift 2
    for runtime in pyoci runc; do
        if [ $engine = docker ]; then flag_first='' flag_run="--runtime $runtime"; else flag_first="--runtime $runtime" flag_run=''; fi
        "$@" > "$work/$runtime" 2>&1 < /dev/null
        echo "status $?" >> "$work/$runtime"
        # Debian 13 gives the program runc a profile that confines nothing, and what it starts inherits the name.
        sed -i -E 's/[0-9a-f]{64}/ID/g; s/run-u[0-9]+/run-uN/; s/^runc \(unconfined\)$/unconfined/; /^(INFO|time=)/d' "$work/$runtime"
    done
    if ! cmp -s "$work/pyoci" "$work/runc"; then
        echo "FAILED  $engine: $what"
        diff "$work/runc" "$work/pyoci" | sed 's/^/        /'
    elif ! tr '\n' ' ' < "$work/pyoci" | grep -qE -- "$pattern"; then
        echo "FAILED  $engine: $what: no \"$pattern\" in:"
        sed 's/^/        /' "$work/pyoci"
    else
        echo "ok      $engine: $what"
        return
    fi
    failures=$((failures + 1))
}

once() { engine_run --rm "$@"; }
status_only() { "$@" > "$work/said" 2>&1; }
# A container with limits, and what both sides say of it: life SLICE PREFIX
life() {
    engine_run -d --name life --memory 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0 --device /dev/fuse bb sh -c 'while :; do sleep 1000; done'
    id=$($engine inspect life --format '{{.Id}}')
    cat "/proc/$($engine inspect life --format '{{.State.Pid}}')/cgroup"
    for file in memory.max memory.swap.max cpu.max pids.max cpuset.cpus; do cat "/sys/fs/cgroup/$1/$2-$id.scope/$file"; done
    systemctl show "$2-$id.scope" -p Slice -p MemoryMax -p TasksMax -p CPUQuotaPerSecUSec -p AllowedCPUs -p Delegate
    $engine exec life sh -c 'cat /proc/self/cgroup /proc/self/attr/current'
    $engine pause life && $engine inspect life --format '{{.State.Status}}' && $engine unpause life
    $engine update --memory 32m --memory-swap 32m life && cat "/sys/fs/cgroup/$1/$2-$id.scope/memory.max"
    systemctl show "$2-$id.scope" -p MemoryMax
    systemctl daemon-reload
    cat "/sys/fs/cgroup/$1/$2-$id.scope/memory.max" "/sys/fs/cgroup/$1/$2-$id.scope/cpu.max"
    $engine stop -t 0 life && $engine inspect life --format '{{.State.Status}} {{.State.ExitCode}}'
    $engine start life && $engine inspect life --format '{{.State.Status}}'
    $engine rm -f life
    systemctl list-units --all --no-legend --plain "$2-$id.scope"
}

for engine in docker podman; do
    if [ $engine = docker ]; then profile='docker-default \(enforce\)'; else profile='containers-default-[0-9.]+ \(enforce\)'; fi
    both_say "user, cgroup and profile" "uid=0.*0::/ $profile" once bb sh -c 'id; cat /proc/self/cgroup /proc/self/attr/current'
    if [ $engine = docker ]; then
        both_say "the life of one with limits" 'MemoryMax=67108864.*paused.*exited 137.*running.*status 0' life system.slice docker
    else
        both_say "the life of one with limits" 'MemoryMax=67108864.*paused.*exited 137.*running.*status 0' life machine.slice libpod
    fi
    both_say "apparmor=unconfined" '^unconfined status 0' once --security-opt apparmor=unconfined bb cat /proc/self/attr/current
    both_say "--privileged is unconfined" '^unconfined status 0' once --privileged bb cat /proc/self/attr/current
    both_say "the profile forbids a mount that capabilities allow" 'denied.*status [1-9]' \
        once --cap-add SYS_ADMIN --security-opt seccomp=unconfined bb mount -t tmpfs x /tmp
    both_say "and without it the mount is made" '^status 0' \
        once --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined bb mount -t tmpfs x /tmp
    both_say "--cgroup-parent" 'test.slice/test-a.slice/.*ID.scope.*status 0' once --cgroupns host --cgroup-parent test-a.slice bb cat /proc/1/cgroup
    both_say "a program that is not there" '^status 127' status_only once bb nosuch
    both_say "an exit status" '^status 7' once bb sh -c 'exit 7'
    both_say "no-new-privileges" "$profile status 0" once --security-opt no-new-privileges bb cat /proc/self/attr/current
    both_say "--init" "$profile status 0" once --init bb cat /proc/1/attr/current
done
engine=podman
both_say "a user namespace" '0 +100000 +65536.*enforce.*status 0' once --uidmap 0:100000:65536 bb sh -c 'cat /proc/self/uid_map /proc/self/attr/current'
both_say "systemd's own cgroup tree" '/sys/fs/cgroup/x status 0' once --systemd=always bb sh -c 'mkdir /sys/fs/cgroup/x && echo /sys/fs/cgroup/*x'
both_say "--cgroups=no-conmon" '0::/ status 0' once --cgroups=no-conmon bb cat /proc/1/cgroup
both_say "a property by annotation" 'status 0' once --annotation org.systemd.property.TimeoutStopUSec="uint64 5000000" bb echo
both_say "no scope is left" '^status 0' systemctl list-units --all --no-legend --plain 'docker-*.scope' 'libpod-*.scope' 'pyoci-*'

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
