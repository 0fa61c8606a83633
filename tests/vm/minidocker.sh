#!/bin/sh
# MiniDocker on a host of its own (cgroup v2 in the virtual machine): containers by the command line, offline.
#
#   tests/vm/minidocker.sh         as root
#
# Needs a static busybox, and a Python with cffi: $PYTHON, by default the tree's .venv/bin/python, and the C parts built.
# Roots of its own, which are removed again. Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
MINIDOCKER=${MINIDOCKER:-$PYTHON -m pyoci.minidocker}

cannot() { echo "cannot run here: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "not root"
command -v busybox >/dev/null || cannot "no busybox (Debian: busybox-static)"

failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
# equal WHAT WANTED GOT
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }
# has WHAT PATTERN TEXT
has() { case $3 in *$2*) good "$1" ;; *) bad "$1" "no \"$2\" in: $3" ;; esac; }
md() { $MINIDOCKER "$@" 2>&1; }

work=$(mktemp -d)
export MINIDOCKER_ROOT="$work/data" MINIDOCKER_RUN="$work/run"
clean() {
    for id in $($MINIDOCKER ps -aq 2>/dev/null); do $MINIDOCKER rm -f "$id" >/dev/null 2>&1; done
    rm -rf "$work"
}
trap clean EXIT

complaints() { dmesg | grep -c "overlayfs: .*lowerdir+"; }
before=$(complaints)
md image make busybox >/dev/null || bad "an image is made offline"
equal "a container says what it was told to" "hi" "$(md run --rm --network none busybox echo hi)"
md run --rm --network none busybox sh -c 'exit 3' >/dev/null
equal "its exit status is ours" 3 $?
md run -d --name web --network none -m 64m --pids-limit 50 --cpus 0.5 busybox sleep 1000 >/dev/null
has "it runs in the background" "Up " "$(md ps)"
equal "a further process runs beside it" "in" "$(md exec web echo in)"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/minidocker/$($MINIDOCKER inspect --format '{{.Id}}' web)
    equal "memory is limited" 67108864 "$(cat "$group/memory.max")"
    equal "processes are limited" 50 "$(cat "$group/pids.max")"
    equal "CPU is limited" "50000 100000" "$(cat "$group/cpu.max")"
    equal "it sees its own cgroup as the root" "0::/" "$(md exec web cat /proc/self/cgroup)"
fi
has "its use is told" "64MiB" "$(md stats --no-stream web)"
md pause web >/dev/null
has "it is frozen" "(Paused)" "$(md ps)"
md unpause web >/dev/null
md update -m 96m --memory-swap 192m web >/dev/null
equal "its limit is changed" 100663296 "$(md inspect --format '{{.HostConfig.Memory}}' web)"
md stop -t 0 web >/dev/null
has "it is stopped" "Exited (137)" "$(md ps -a)"
md run --name big --network none -m 8m --memory-swap 8m busybox sh -c 'x=$(head -c 60000000 /dev/zero | tr "\0" x); echo ${#x}' >/dev/null
equal "who wants too much memory is killed, and that is told" true "$(md inspect --format '{{.State.OOMKilled}}' big)"
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
    # Who is confined by what, as the kernel says it.  A profile of another test's is loaded and removed again.
    current="cat /proc/self/attr/current"
    equal "a container is confined by the default" "minidocker-default (enforce)" "$(md run --rm --network none busybox $current)"
    equal "and inspect says so" minidocker-default "$(md inspect --format '{{.AppArmorProfile}}' big)"
    has "info, too" "apparmor" "$(md info)"
    equal "unconfined is none" unconfined "$(md run --rm --network none --security-opt apparmor=unconfined busybox $current)"
    equal "privileged is unconfined" unconfined "$(md run --rm --network none --privileged busybox $current)"
    printf 'profile %s flags=(attach_disconnected) { file, capability, signal, deny /forbidden w, }\n' "minidocker-test-$$" > "$work/profile"
    apparmor_parser --replace "$work/profile" || bad "a profile is loaded"
    named="md run --rm --network none --security-opt apparmor=minidocker-test-$$"
    equal "a named one is taken" "minidocker-test-$$ (enforce)" "$($named busybox $current)"
    equal "even by who is privileged" "minidocker-test-$$ (enforce)" "$($named --privileged busybox $current)"
    has "and holds" "can't create /forbidden" "$($named busybox sh -c 'echo x > /forbidden')"
    apparmor_parser --remove "$work/profile"
    has "one that is not loaded is refused" "AppArmor profile minidocker-test-$$ is not loaded into the kernel" "$($named busybox true)"
    equal "with docker's status" 125 "$($named busybox true >/dev/null; echo $?)"
    # With nothing else in the way: no masked or read-only paths, no filter, every capability.
    open="--security-opt systempaths=unconfined --security-opt seccomp=unconfined --cap-add ALL"
    has "it lets nobody mount" "ermission denied" "$(md run --rm --network none $open busybox mount -t tmpfs none /tmp)"
    equal "which unconfined may" mounted "$(md run --rm --network none $open --security-opt apparmor=unconfined busybox sh -c 'mount -t tmpfs none /tmp && echo mounted')"
    equal "nor write the host's sysctls" no "$(md run --rm --network none $open busybox sh -c 'echo 0 2>/dev/null > /proc/sys/kernel/sysrq && echo written || echo no' 2>/dev/null | tail -n 1)"
    equal "as unconfined may" written "$(md run --rm --network none $open --security-opt apparmor=unconfined busybox sh -c 'cat /proc/sys/kernel/sysrq > /tmp/x && cat /tmp/x > /proc/sys/kernel/sysrq && echo written')"
    equal "an ordinary life goes on" "1 /etc/x" "$(md run --rm --network none busybox sh -c 'echo 1 > /etc/x; echo 0 > /proc/self/oom_score_adj; kill -0 1; sleep 100 & kill $!; wait; echo $(cat /etc/x) /etc/x')"
    md run -d --name confined --network none busybox sleep 1000 >/dev/null
    equal "an exec is confined, too" "minidocker-default (enforce)" "$(md exec confined $current)"
    equal "but for a privileged one" unconfined "$(md exec --privileged confined $current)"
    md stop -t 0 confined >/dev/null
    has "it can be killed from the host" "Exited (137)" "$(md ps -a --filter name=confined)"
    md rm -f confined >/dev/null
else
    has "a profile is refused without AppArmor" "AppArmor is not enabled on this host" "$(md run --rm --network none --security-opt apparmor=mine busybox true)"
fi
equal "nothing is wrong" "nothing wrong" "$(md system check)"
md rm web big >/dev/null
equal "nothing is left" "" "$(ls "$work/data/containers" "$work/run/containers" 2>/dev/null | grep -v :)"
equal "the kernel's log has no complaint of our mounts" "$before" "$(complaints)"

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
