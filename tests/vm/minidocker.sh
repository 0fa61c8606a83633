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
equal "nothing is wrong" "nothing wrong" "$(md system check)"
md rm web big >/dev/null
equal "nothing is left" "" "$(ls "$work/data/containers" "$work/run/containers" 2>/dev/null | grep -v :)"

echo "$failures failed"
[ "$failures" = 0 ]
