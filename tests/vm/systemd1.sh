#!/bin/sh
# The systemd cgroup driver on cgroup version 1: limits in each hierarchy, and devices that stay closed when systemd reloads.
#
#   tests/vm/systemd1.sh           as root, in a machine that runs systemd (before 258) with systemd.unified_cgroup_hierarchy=0
#
# Needs a static busybox, jq, and a Python with cffi: $PYTHON, by default the tree's .venv/bin/python, and the C parts built.
# Everything is made below one new directory and in one new slice, and removed again. Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
PYOCI=${PYOCI:-$PYTHON -m pyoci}

cannot() { echo "cannot run here: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "not root"
[ -d /run/systemd/system ] || cannot "systemd is not running"
[ -d /sys/fs/cgroup/devices ] || cannot "cgroup version 1 is not mounted"
BUSYBOX=$(command -v busybox) || cannot "no busybox (Debian: busybox-static)"

failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
# equal WHAT WANTED GOT
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }

work=$(mktemp -d)
id=life$$
slice=pyocitest$$-sub.slice
unit=lib-$id.scope
inner=pyocitest$$.slice/$slice/$unit
neighbour=pyocitest$$-neighbour
pyoci() { $PYOCI --root "$work/root" "$@"; }
clean() {
    pyoci delete --force "$id" 2>/dev/null
    systemctl stop "$neighbour" "$unit" "$slice" "pyocitest$$.slice" 2>/dev/null
    rm -rf "$work"
}
trap clean EXIT
file() { cat "/sys/fs/cgroup/$1/$inner/$2"; }
property() { systemctl show "$unit" --property "$1" --value; }
# Hierarchies in which the container's process is somewhere else.
elsewhere() { grep -v "/$inner\$" "/proc/$(pyoci state "$id" | jq .pid)/cgroup"; }

mkdir -p "$work/b/rootfs/bin" && cp "$BUSYBOX" "$work/b/rootfs/bin/busybox" && ln -sf busybox "$work/b/rootfs/bin/sh"
pyoci spec --bundle "$work/b"
$PYTHON - "$work/b/config.json" "$slice:lib:$id" <<'END'
import json, sys
config = json.load(open(sys.argv[1]))
config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", "while :; do busybox sleep 1000; done"], "rlimits": []}
config["linux"] |= {"cgroupsPath": sys.argv[2], "resources": {
    "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}],
    "memory": {"limit": 67108864}, "pids": {"limit": 30}, "cpu": {"shares": 2048, "quota": 50001, "period": 100000, "cpus": "0"}}}
json.dump(config, open(sys.argv[1], "w"))
END

pyoci --systemd-cgroup run --detach --bundle "$work/b" "$id" > "$work/out" 2>&1 < /dev/null
equal "run" 0 $?
[ -s "$work/out" ] && cat "$work/out"
equal "the process is in its scope in every hierarchy" "" "$(elsewhere)"
equal "memory" "67108864 67108864" "$(property MemoryLimit) $(file memory memory.limit_in_bytes)"
equal "processes" "30 30" "$(property TasksMax) $(file pids pids.max)"
equal "processor" "2048 2048 51000" "$(property CPUShares) $(file cpu cpu.shares) $(file cpu cpu.cfs_quota_us)"
equal "cpuset" 0 "$(file cpuset cpuset.cpus)"
devices=$(file devices devices.list)
case $devices in "c 1:11 r"*) good "the list of devices is the config's" ;; *) bad "the list of devices is the config's" "$devices" ;; esac

# A neighbour with a wish about devices, and a reload: without one of its own the scope's process would be moved to where all are open.
systemd-run --quiet --unit "$neighbour" --slice "$slice" -p DevicePolicy=closed sleep 1000
systemctl daemon-reload
equal "a neighbour and a daemon-reload leave the process where it is" "" "$(elsewhere)"
equal "and its devices" "$devices" "$(file devices devices.list)"
pyoci update --memory 33554432 --pids-limit 40 "$id"
equal "update" "33554432 33554432 40" "$(property MemoryLimit) $(file memory memory.limit_in_bytes) $(file pids pids.max)"
systemctl stop "$neighbour"
systemctl daemon-reload
equal "nor do an update and another reload" "$devices" "$(elsewhere)$(file devices devices.list)"

pyoci delete --force "$id"
equal "delete" 0 $?
equal "no unit is left" "" "$(systemctl list-units --all --no-legend --plain "$unit")"
equal "no cgroup is left" "" "$(find /sys/fs/cgroup -name "$unit")"

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
