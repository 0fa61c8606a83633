#!/bin/sh
# The systemd cgroup driver for real: a container's whole life in a scope, and what is left of one that failed or was killed.
#
#   tests/vm/systemd.sh            as root, on a host (or in a virtual machine) that runs systemd with cgroup2 alone
#
# Needs a static busybox, and a Python with cffi: $PYTHON, by default the tree's .venv/bin/python, and the C parts built.
# Everything is made below one new directory and in one new slice, and removed again. Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
PYOCI=${PYOCI:-$PYTHON -m pyoci}

cannot() { echo "cannot run here: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "not root"
[ -d /run/systemd/system ] || cannot "systemd is not running"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || cannot "/sys/fs/cgroup is not cgroup2"
BUSYBOX=$(command -v busybox) || cannot "no busybox (Debian: busybox-static)"

failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
# equal WHAT WANTED GOT
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }
# has WHAT PATTERN TEXT
has() { case $3 in *$2*) good "$1" ;; *) bad "$1" "no \"$2\" in: $3" ;; esac; }

work=$(mktemp -d)
id=life$$
slice=pyocitest$$-sub.slice
unit=lib-$id.scope
container=/sys/fs/cgroup/pyocitest$$.slice/$slice/$unit
pyoci() { $PYOCI --root "$work/root" "$@"; }
by_systemd() { $PYOCI --root "$work/root" --systemd-cgroup "$@"; }
clean() {
    for one in "$id" "$id-2"; do pyoci delete --force "$one" 2>/dev/null; done
    systemctl stop "$unit" "lib-$id-2.scope" "$slice" "pyocitest$$.slice" 2>/dev/null
    rm -rf "$work"
}
trap clean EXIT
property() { systemctl show "$unit" --property "$1" --value; }
loaded() { systemctl list-units --all --no-legend --plain "lib-$id*" "pyoci-$id*"; }
# silent WHAT COMMAND...: it succeeds and says nothing
silent() { what=$1; shift; "$@" > "$work/out" 2>&1 < /dev/null; equal "$what" 0 $?; [ -s "$work/out" ] && cat "$work/out"; }

# bundle NAME CGROUPS_PATH RESOURCES ANNOTATIONS ARGS...: a bundle of busybox alone
bundle() {
    mkdir -p "$work/$1/rootfs/bin" && cp "$BUSYBOX" "$work/$1/rootfs/bin/busybox" && ln -sf busybox "$work/$1/rootfs/bin/sh"
    pyoci spec --bundle "$work/$1" || return
    $PYTHON - "$work/$1/config.json" "$@" <<'END'
import json, sys
path, name, cgroups_path, resources, annotations, *args = sys.argv[1:]
config = json.load(open(path))
config["process"] |= {"terminal": False, "args": args, "rlimits": []}
config["linux"] |= {"cgroupsPath": cgroups_path, "resources": json.loads(resources)}
config["annotations"] = json.loads(annotations)
if name == "host-pids":
    config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "pid"]
json.dump(config, open(path, "w"))
END
}

limits='{
    "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}],
    "memory": {"limit": 67108864, "swap": 67108864, "reservation": 16777216}, "pids": {"limit": 30},
    "cpu": {"shares": 2048, "quota": 50001, "period": 100000, "cpus": "0", "mems": "0"},
    "unified": {"memory.high": "62914560"}}'
bundle life "$slice:lib:$id" "$limits" '{"org.systemd.property.TimeoutStopSec": "7"}' /bin/sh -c 'while :; do busybox sleep 1000; done'

has "plan shows the scope" "have systemd put init into $unit in $slice with MemoryMax=uint64 67108864" "$(by_systemd plan "$work/life")"
silent create by_systemd create --bundle "$work/life" --pid-file "$work/pid" "$id"
equal "init is in its scope" "$(cat "$work/pid")" "$(cat "$container/cgroup.procs")"
equal "the unit is a delegated scope" "yes $slice running" "$(property Delegate) $(property Slice) $(property SubState)"
equal "systemd knows memory.max" "67108864 67108864" "$(property MemoryMax) $(cat "$container/memory.max")"
equal "memory.low" "16777216 16777216" "$(property MemoryLow) $(cat "$container/memory.low")"
equal "memory.high, by unified" "62914560 62914560" "$(property MemoryHigh) $(cat "$container/memory.high")"
equal "memory.swap.max" 0 "$(property MemorySwapMax)"
equal "pids.max" "30 30" "$(property TasksMax) $(cat "$container/pids.max")"
equal "cpu.weight" "174 174" "$(property CPUWeight) $(cat "$container/cpu.weight")"
equal "cpu.max, rounded as systemd does" "510ms 51000 100000" "$(property CPUQuotaPerSecUSec) $(cat "$container/cpu.max")"
equal "cpuset.cpus" "0 0" "$(property AllowedCPUs) $(cat "$container/cpuset.cpus")"
equal "a property of an annotation" 7s "$(property TimeoutStopUSec)"
silent start pyoci start "$id"
equal "exec is in the scope, seen as the root" "0::/" "$(pyoci exec "$id" /bin/busybox cat /proc/self/cgroup)"
inside() { sh -c "echo \$\$ > $container/cgroup.procs; exec $1" 2>&1; }
equal "an allowed device opens" "" "$(inside 'busybox true < /dev/kmsg')"
has "another one does not" "Operation not permitted" "$(inside 'busybox true < /dev/mem')"

systemctl daemon-reload
equal "a daemon-reload changes no limit" "67108864 30 51000 100000" \
    "$(cat "$container/memory.max") $(cat "$container/pids.max") $(cat "$container/cpu.max")"
has "nor which devices open" "Operation not permitted" "$(inside 'busybox true < /dev/mem')"

silent pause pyoci pause "$id"
has "the kernel says it is frozen" "frozen 1" "$(cat "$container/cgroup.events")"
silent resume pyoci resume "$id"

silent update pyoci update --memory 33554432 --memory-swap 50331648 --cpu-quota 20000 --cpu-share 1024 --pids-limit 40 --cpuset-cpus 0 "$id"
equal "update: memory" "33554432 33554432 16777216" "$(property MemoryMax) $(cat "$container/memory.max") $(property MemorySwapMax)"
equal "update: processor" "200ms 20000 100000 100" "$(property CPUQuotaPerSecUSec) $(cat "$container/cpu.max") $(property CPUWeight)"
equal "update: processes" "40 40" "$(property TasksMax) $(cat "$container/pids.max")"
has "an update that the kernel refuses is an error" "pids.max" \
    "$(echo '{"pids": {"limit": 9223372036854775807}, "cpu": {"quota": 30000}}' | pyoci update --resources - "$id" 2>&1)"
equal "and puts back what it had changed, on both sides" "200ms 20000 100000 40 40" \
    "$(property CPUQuotaPerSecUSec) $(cat "$container/cpu.max") $(property TasksMax) $(cat "$container/pids.max")"
has "events --stats" '"limit":33554432' "$(pyoci events --stats "$id")"

has "a second container of that name is refused" "was already loaded" "$(by_systemd create --bundle "$work/life" "$id-2" 2>&1)"
equal "and the first is left alone" "$(cat "$work/pid")" "$(head -n 1 "$container/cgroup.procs")"

silent kill pyoci kill "$id" KILL
silent delete pyoci delete --force "$id"
equal "no unit is left" "" "$(loaded)"
equal "no cgroup is left" "" "$(ls -d "$container" 2>/dev/null)"

for attempt in 1 2 3; do
    by_systemd run --detach --bundle "$work/life" "$id" > "$work/out" 2>&1 < /dev/null || bad "again $attempt" "$(cat "$work/out")"
    pyoci delete --force "$id" || bad "again $attempt"
done
good "the name can be used again at once"

bundle paused "$slice:lib:$id" '{}' '{}' /bin/sh -c 'while :; do busybox sleep 1000; done'
by_systemd run --detach --bundle "$work/paused" "$id" > "$work/out" 2>&1 < /dev/null
pyoci pause "$id"
silent "delete of a paused one" pyoci delete --force "$id"
equal "leaves no unit" "" "$(loaded)"

bundle host-pids "$slice:lib:$id" '{}' '{}' /bin/sh -c 'busybox sleep 1000 & busybox sleep 1000 & wait'
by_systemd run --detach --bundle "$work/host-pids" "$id" > "$work/out" 2>&1 < /dev/null
began=$(date +%s)
silent "delete of one without a pid namespace" pyoci delete --force "$id"
[ $(($(date +%s) - began)) -lt 30 ] && good "does not wait for systemd's patience" || bad "it took too long"
equal "and leaves no process" "" "$(cat "$container/cgroup.procs" 2>/dev/null)"
equal "nor a unit" "" "$(loaded)"

bundle broken "$slice:lib:$id" "$limits" '{}' not-there
has "a failing create says why" "executable file not found" "$(by_systemd create --bundle "$work/broken" "$id" 2>&1)"
equal "and leaves no unit" "" "$(loaded)"
bundle odd "$slice:lib:$id" '{}' '{"org.systemd.property.NoSuchThing": "true"}' /bin/sh
has "a property that systemd does not know is told" "StartTransientUnit: Cannot set property NoSuchThing" \
    "$(by_systemd create --bundle "$work/odd" "$id" 2>&1)"
equal "and no unit is left" "" "$(loaded)"

# Killed at a time of its own choosing: each try a bit later, so that some fall into the making of the scope.
was_there=0
for step in $(seq 1 12); do
    by_systemd create --bundle "$work/life" "$id" > /dev/null 2>&1 < /dev/null & creator=$!
    for _ in $(seq "$step"); do
        [ -d "$container" ] && break
        sleep 0.03
    done
    kill -KILL $creator 2>/dev/null
    wait $creator 2>/dev/null
    [ -d "$container" ] && was_there=$((was_there + 1))
    pyoci delete --force "$id" 2>/dev/null
    [ -z "$(loaded)" ] && [ ! -d "$container" ] || bad "killed create $step" "$(loaded)"
done
good "a killed create is undone by delete, wherever it was ($was_there of 12 had their scope)"

bundle default "" '{}' '{}' /bin/sh -c 'busybox sleep 1000'
by_systemd run --detach --bundle "$work/default" "$id" > "$work/out" 2>&1 < /dev/null
equal "without a cgroupsPath" "0::/system.slice/pyoci-$id.scope" "$(cat "/proc/$(pyoci state "$id" | jq .pid)/cgroup")"
pyoci delete --force "$id"
equal "nothing is left of it" "" "$(loaded)"

without_bus() { unshare --mount sh -c 'mount -t tmpfs none /run/dbus; "$@"' sh $PYOCI --root "$work/root" --systemd-cgroup "$@"; }
silent "without a message bus root reaches systemd itself" without_bus run --detach --bundle "$work/life" "$id"
equal "the scope is there" "$(pyoci state "$id" | jq .pid)" "$(head -n 1 "$container/cgroup.procs")"
silent "and goes" without_bus delete --force "$id"
equal "with its unit" "" "$(loaded)$(ls -d "$container" 2>/dev/null)"

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
