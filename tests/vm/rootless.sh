#!/bin/sh
# A user without root on cgroup v2, with what systemd delegates to it: a container's life and its limits, then rootless podman.
#
#   tests/vm/rootless.sh [USER]    as root, on a host (or in a virtual machine) with systemd and cgroup2 alone; USER by default uid 1000
#
# Needs a static busybox, newuidmap, and lines for USER in /etc/subuid and /etc/subgid; with podman installed its part runs too.
# $PYOCI: a program that USER may run. Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYOCI=${PYOCI:-$PWD/.venv/bin/pyoci}
cannot() { echo "cannot run here: $*" >&2; exit 2; }

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || cannot "not root"
    [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || cannot "/sys/fs/cgroup is not cgroup2"
    user=${1:-$(id -nu 1000)} || cannot "no user"
    uid=$(id -u "$user")
    loginctl enable-linger "$user" || cannot "no user manager"
    for _ in $(seq 100); do [ -S "/run/user/$uid/bus" ] && break; sleep 0.2; done
    work=$(mktemp -d) && chown "$user" "$work"
    setpriv --reuid "$uid" --regid "$(id -g "$user")" --init-groups env -i PATH=/usr/bin:/usr/sbin:/bin HOME="$work" XDG_RUNTIME_DIR="/run/user/$uid" \
        DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus" PYOCI="$PYOCI" systemd-run --user --quiet --wait --pipe -p Delegate=yes \
        -E PYOCI="$PYOCI" -E HOME="$work" sh "$PWD/tests/vm/rootless.sh" --inside "$work"
    status=$?
    rm -rf "$work"
    exit $status
fi

work=$2
failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }
has() { case $3 in *$2*) good "$1" ;; *) bad "$1" "no \"$2\" in: $3" ;; esac; }
pyoci() { "$PYOCI" "$@"; }
id=pyoci-rootless-$$
trap 'pyoci delete --force $id 2>/dev/null' EXIT

mkdir -p "$work/b/rootfs/bin" && cp "$(command -v busybox)" "$work/b/rootfs/bin/busybox" && ln -s busybox "$work/b/rootfs/bin/sh"
pyoci spec --rootless --bundle "$work/b" || exit 1
sed -i -e 's/"terminal": true/"terminal": false/' -e 's|"sh"$|"/bin/busybox", "sleep", "1000"|' \
    -e 's|"linux": {|"linux": {"resources": {"memory": {"limit": 67108864}, "pids": {"limit": 30}, "devices": [{"allow": false, "access": "rwm"}]},|' "$work/b/config.json"

equal "create" 0 "$(pyoci create --bundle "$work/b" --pid-file "$work/pid" $id >"$work/out" 2>&1; echo $?)"
cat "$work/out"
group=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(cat "$work/pid")/cgroup")
has "its cgroup is below the user's" "user@$(id -u).service" "$group"
has "and bears its name" "/$id" "$group"
equal "memory.max" 67108864 "$(cat "$group/memory.max")"
equal "pids.max" 30 "$(cat "$group/pids.max")"
equal "start" 0 "$(pyoci start $id >"$work/out" 2>&1; echo $?)"
has "state says running" '"status": "running"' "$(pyoci state $id)"
pyoci exec --detach --pid-file "$work/pid2" $id /bin/busybox sleep 500 </dev/null >"$work/out" 2>&1
has "exec is in its cgroup" "$id" "$(cat "/proc/$(cat "$work/pid2")/cgroup")"
cat "$work/out"
equal "ps" "2" "$(pyoci ps --format json $id | tr ',' '\n' | grep -c '[0-9]')"
equal "pause" 0 "$(pyoci pause $id >"$work/out" 2>&1; echo $?)"
has "state says paused" '"status": "paused"' "$(pyoci state $id)"
equal "resume" 0 "$(pyoci resume $id >"$work/out" 2>&1; echo $?)"
equal "update" 0 "$(pyoci update --pids-limit 40 $id >"$work/out" 2>&1; echo $?)"
cat "$work/out"
equal "updated pids.max" 40 "$(cat "$group/pids.max")"
has "events" '"type":"stats"' "$(pyoci events --stats $id)"
equal "kill --all" 0 "$(pyoci kill --all $id KILL >"$work/out" 2>&1; echo $?)"
equal "delete" 0 "$(pyoci delete --force $id >"$work/out" 2>&1; echo $?)"
equal "its cgroup is gone" "" "$(ls -d "$group" 2>/dev/null)"
sed -i 's|"linux": {|"linux": {"cgroupsPath": "/out-of-reach",|' "$work/b/config.json"
has "a cgroup elsewhere is refused" "/sys/fs/cgroup/out-of-reach can't be made by this user" "$(pyoci run --bundle "$work/b" $id 2>&1)"

if command -v podman >/dev/null; then
    for manager in cgroupfs systemd; do
        run="podman --runtime $PYOCI --cgroup-manager $manager"
        has "podman run ($manager)" "uid=0" "$($run run --rm --network none --rootfs "$work/b/rootfs" /bin/busybox id 2>&1)"
        equal "podman run -m --pids-limit ($manager)" "33" "$($run run --rm --network none -m 64m --pids-limit 33 --rootfs "$work/b/rootfs" /bin/busybox cat /sys/fs/cgroup/pids.max 2>&1)"
        $run run -d --name $id --network none --rootfs "$work/b/rootfs" /bin/busybox sleep 1000 >/dev/null 2>"$work/out" || bad "podman run -d ($manager)" "$(cat "$work/out")"
        has "podman exec ($manager)" "uid=0" "$($run exec $id /bin/busybox id 2>&1)"
        equal "podman pause ($manager)" "paused" "$($run pause $id >/dev/null 2>&1; $run inspect -f '{{.State.Status}}' $id 2>&1)"
        equal "podman rm ($manager)" 0 "$($run unpause $id >/dev/null 2>&1; $run rm -f -t 0 $id >/dev/null 2>&1; echo $?)"
    done
fi
if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
