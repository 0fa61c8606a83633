#!/bin/sh
# Cgroup v2 for real: the cgroup room's kernel tests, then a container's whole life through pyoci's command line.
#
#   tests/vm/cgroup2.sh            as root, on a host (or in a virtual machine) with cgroup2 alone at /sys/fs/cgroup
#
# Needs a static busybox, and a Python with pytest, hypothesis and cffi: $PYTHON, by default the tree's .venv/bin/python.
# The C parts must be built (python -m pyoci.native.build). Everything is made below one new directory and one new cgroup,
# and removed again. Prints a line a check; ends with 0 if all held. SKIP_PYTEST=1 leaves the first part out; CONTAINERS=1 adds
# the tests that make real ones, fifteen minutes.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
PYOCI=${PYOCI:-$PYTHON -m pyoci}

cannot() { echo "cannot run here: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "not root"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || cannot "/sys/fs/cgroup is not cgroup2"
BUSYBOX=$(command -v busybox) || cannot "no busybox (Debian: busybox-static)"

failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
# equal WHAT WANTED GOT
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }
# has WHAT PATTERN TEXT
has() { case $3 in *$2*) good "$1" ;; *) bad "$1" "no \"$2\" in: $3" ;; esac; }

if [ "${SKIP_PYTEST:-}" != 1 ]; then
    PYOCI_STRICT_SKIPS=1 $PYTHON -m pytest -q -p no:cacheprovider \
        tests/cgroup/test_cgroup_layout.py tests/cgroup/test_cgroup_face.py tests/cgroup/test_cgroup_kernel_limits.py tests/cgroup/test_cgroup_born.py ||
        bad "the kernel tests of tests/cgroup"
fi
if [ "${CONTAINERS:-}" = 1 ]; then
    PYOCI_STRICT_SKIPS=1 $PYTHON -m pytest -q -p no:cacheprovider tests/failures tests/security tests/runtime/test_runtime_cgroups.py tests/runtime/test_runtime_container.py tests/runtime/test_runtime_exec.py ||
        bad "the containers of tests/failures, tests/security and tests/runtime"
fi

work=$(mktemp -d)
group=pyoci-cgroup2-$$
id=$group
container=/sys/fs/cgroup/$group/container
pyoci() { $PYOCI --root "$work/root" "$@"; }
clean() {
    pyoci delete --force "$id" 2>/dev/null
    pyoci delete --force "$id-oom" 2>/dev/null
    rmdir "/sys/fs/cgroup/$group" 2>/dev/null
    rm -rf "$work"
}
trap clean EXIT

# bundle NAME CGROUPS_PATH RESOURCES ARGS...: a bundle of busybox alone
bundle() {
    mkdir -p "$work/$1/rootfs/bin" && cp "$BUSYBOX" "$work/$1/rootfs/bin/busybox" && ln -sf busybox "$work/$1/rootfs/bin/sh"
    pyoci spec --bundle "$work/$1" || return
    $PYTHON - "$work/$1/config.json" "$@" <<'EOF'
import json, sys
path, _, cgroups_path, resources, *args = sys.argv[1:]
config = json.load(open(path))
config["process"] |= {"terminal": False, "args": args, "rlimits": []}
config["linux"] |= {"cgroupsPath": cgroups_path, "resources": json.loads(resources)}
json.dump(config, open(path, "w"))
EOF
}

bundle life "/$group/container" '{
    "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}],
    "memory": {"limit": 67108864, "swap": 67108864, "reservation": 16777216}, "pids": {"limit": 30},
    "cpu": {"shares": 2048, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
    "unified": {"memory.high": "62914560"}}' /bin/busybox sleep 1000

equal "create" 0 "$(pyoci create --bundle "$work/life" --pid-file "$work/pid" "$id" >"$work/out" 2>&1; echo $?)"
[ -s "$work/out" ] && cat "$work/out"
equal "init is in its cgroup" "$(cat "$work/pid")" "$(cat $container/cgroup.procs)"
equal "memory.max" 67108864 "$(cat $container/memory.max)"
equal "memory.low" 16777216 "$(cat $container/memory.low)"
equal "memory.high, by unified" 62914560 "$(cat $container/memory.high)"
[ ! -e $container/memory.swap.max ] || equal "memory.swap.max: none beyond memory" 0 "$(cat $container/memory.swap.max)"
equal "pids.max" 30 "$(cat $container/pids.max)"
equal "cpu.weight" 174 "$(cat $container/cpu.weight)"
equal "cpu.max" "50000 100000" "$(cat $container/cpu.max)"
equal "cpuset.cpus" 0 "$(cat $container/cpuset.cpus)"
equal "start" 0 "$(pyoci start "$id" >"$work/out" 2>&1; echo $?)"
has "state says running" '"status": "running"' "$(pyoci state "$id")"
equal "exec is in the container's cgroup, seen as the root" "0::/" "$(pyoci exec "$id" /bin/busybox cat /proc/self/cgroup)"
# A process of the host in the container's cgroup: only the device program stands in its way.
inside() { sh -c "echo \$\$ > $container/cgroup.procs; exec $1" 2>&1; }
equal "an allowed device opens for reading" "" "$(inside 'busybox true < /dev/kmsg')"
has "but not for writing" "Operation not permitted" "$(inside 'busybox true > /dev/kmsg')"
has "another one does not open" "Operation not permitted" "$(inside 'busybox true < /dev/mem')"
equal "a default one does" "" "$(inside 'busybox true < /dev/zero')"
equal "ps" "$(cat "$work/pid")" "$(pyoci ps --format json "$id" | tr -d '[] \n')"

equal "pause" 0 "$(pyoci pause "$id" >"$work/out" 2>&1; echo $?)"
equal "cgroup.freeze" 1 "$(cat $container/cgroup.freeze)"
has "the kernel says it is frozen" "frozen 1" "$(cat $container/cgroup.events)"
has "state says paused" '"status": "paused"' "$(pyoci state "$id")"
has "exec into a paused container is refused" "cannot exec in a paused container" "$(pyoci exec "$id" /bin/busybox true 2>&1)"
pyoci exec --ignore-paused "$id" /bin/busybox echo thawed >"$work/late" 2>&1 & late=$!
equal "resume" 0 "$(sleep 0.5; pyoci resume "$id" >"$work/out" 2>&1; echo $?)"
has "the kernel says it is thawed" "frozen 0" "$(cat $container/cgroup.events)"
wait $late
equal "exec --ignore-paused waits for that" thawed "$(cat "$work/late")"

mkdir $container/below
cat "$work/pid" > $container/below/cgroup.procs
echo +pids > $container/cgroup.subtree_control
equal "exec goes where the container's processes went" "0::/below" "$(pyoci exec "$id" /bin/busybox cat /proc/self/cgroup)"
echo -pids > $container/cgroup.subtree_control
cat "$work/pid" > $container/cgroup.procs
rmdir $container/below
echo 1 > $container/pids.max
has "exec into a full cgroup is an error" "Resource temporarily unavailable" "$(pyoci exec "$id" /bin/busybox true 2>&1)"
echo 30 > $container/pids.max
equal "and leaves nothing there" "$(cat "$work/pid")" "$(cat $container/cgroup.procs)"

equal "update" 0 "$(pyoci update --memory 33554432 --memory-swap 50331648 --cpu-quota 20000 --cpu-share 1024 --pids-limit 40 "$id" >"$work/out" 2>&1; echo $?)"
[ -s "$work/out" ] && cat "$work/out"
equal "updated memory.max" 33554432 "$(cat $container/memory.max)"
[ ! -e $container/memory.swap.max ] || equal "updated memory.swap.max" 16777216 "$(cat $container/memory.swap.max)"
equal "updated cpu.max keeps the period" "20000 100000" "$(cat $container/cpu.max)"
equal "updated cpu.weight" 100 "$(cat $container/cpu.weight)"
equal "updated pids.max" 40 "$(cat $container/pids.max)"
has "an update that the kernel refuses is an error" "pids.max" "$(echo '{"pids": {"limit": 9223372036854775807}, "cpu": {"quota": 30000}}' | pyoci update --resources - "$id" 2>&1)"
equal "and puts back what it had written" "20000 100000" "$(cat $container/cpu.max)"

stats=$(pyoci events --stats "$id")
has "events --stats: type" '"type":"stats"' "$stats"
has "events --stats: pids" '"pids":{"current":1,"limit":40}' "$stats"
has "events --stats: memory limit" '"limit":33554432' "$stats"

has "create into a used cgroup is refused" "container's cgroup is not empty" "$(pyoci create --bundle "$work/life" "$id-oom" 2>&1)"

equal "kill" 0 "$(pyoci kill "$id" KILL >"$work/out" 2>&1; echo $?)"
equal "delete" 0 "$(pyoci delete --force "$id" >"$work/out" 2>&1; echo $?)"
[ -s "$work/out" ] && cat "$work/out"
equal "nothing of the container's cgroup is left" "" "$(ls -d $container 2>/dev/null)"

# An OOM kill of a child, which the container outlives.
bundle oom "/$group/oom" '{"memory": {"limit": 16777216, "swap": 16777216}}' /bin/sh -c \
    'read go; (x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done); busybox sleep 1000'
mkfifo "$work/go"
pyoci create --bundle "$work/oom" "$id-oom" < "$work/go" > /dev/null 2>&1 & exec 4> "$work/go"; wait $!
pyoci start "$id-oom"
$PYOCI --root "$work/root" events --interval 100s "$id-oom" > "$work/events" 2>&1 & watcher=$!
# The watcher has begun when it has printed its first line or has memory.events open; it opens it before it waits.
for _ in $(seq 200); do ls -l /proc/$watcher/fd 2>/dev/null | grep -q memory.events && break; sleep 0.1; done
echo go >&4
for _ in $(seq 300); do grep -q '"type":"oom"' "$work/events" && break; sleep 0.1; done
has "an OOM kill is an event" "{\"type\":\"oom\",\"id\":\"$id-oom\"" "$(cat "$work/events")"
exec 4>&-
pyoci delete --force "$id-oom"
wait $watcher
equal "the stream of events ends with the container" 0 $?
equal "nothing of it is left" "" "$(ls -d "/sys/fs/cgroup/$group/oom" 2>/dev/null)"

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
