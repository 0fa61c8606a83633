#!/bin/sh
# MiniDocker of a user who is not root, on cgroup v2: with what systemd delegates to it, from a session's cgroup, and without any; with subordinate ids and without.
#
#   tests/vm/minidocker_rootless.sh [USER]    as root, on a host (or in a virtual machine) with systemd and cgroup2 alone; USER by default uid 1000
#
# Needs a static busybox, newuidmap, and lines for USER in /etc/subuid and /etc/subgid; makes and removes a second user, mdrootless.
# $MINIDOCKER: a program that both may run; $PARTS: which of "session service handed plain alone". Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
MINIDOCKER=${MINIDOCKER:-$PWD/.venv/bin/minidocker}
cannot() { echo "cannot run here: $*" >&2; exit 2; }

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || cannot "not root"
    [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || cannot "/sys/fs/cgroup is not cgroup2"
    command -v busybox >/dev/null || cannot "no busybox (Debian: busybox-static)"
    user=${1:-$(id -nu 1000)} || cannot "no user"
    uid=$(id -u "$user")
    loginctl enable-linger "$user" || cannot "no user manager"
    for _ in $(seq 100); do [ -S "/run/user/$uid/bus" ] && break; sleep 0.2; done
    useradd --create-home mdrootless || cannot "no second user"
    other=$(id -u mdrootless)
    work=$(mktemp -d) && chmod 755 "$work" && mkdir "$work/one" "$work/two" && chown "$user" "$work/one" && chown mdrootless "$work/two"
    status=0
    as() { # as USER UID WORK PART VARIABLE...: a part of this script as that user
        name=$1 id=$2 home=$3 part=$4
        shift 4
        setpriv --reuid "$id" --regid "$(id -g "$name")" --init-groups env -i PATH=/usr/bin:/usr/sbin:/bin HOME="$home" MINIDOCKER="$MINIDOCKER" "$@" \
            sh "$PWD/tests/vm/minidocker_rootless.sh" --inside "$part" "$home" || status=1
    }
    PARTS=" ${PARTS:-session service handed plain alone} "
    wanted() { case $PARTS in *" $1 "*) echo "# $2" ;; *) false ;; esac; }
    bus="XDG_RUNTIME_DIR=/run/user/$uid DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$uid/bus"
    # shellcheck disable=SC2086 # $bus is two words
    if wanted session "from a session, whose cgroup is not the user's"; then
        as "$user" "$uid" "$work/one" delegated $bus
    fi
    # shellcheck disable=SC2086
    if wanted service "as a service of the user's systemd"; then
        setpriv --reuid "$uid" --regid "$(id -g "$user")" --init-groups env -i PATH=/usr/bin:/usr/sbin:/bin $bus systemd-run --user --quiet --wait --pipe -p Delegate=yes \
            -E MINIDOCKER="$MINIDOCKER" -E HOME="$work/one" sh "$PWD/tests/vm/minidocker_rootless.sh" --inside delegated "$work/one" || status=1
    fi
    if wanted handed "in a cgroup that root has handed to a user without a systemd of its own"; then
        mkdir -p /sys/fs/cgroup/md-handed/shell
        chown -R mdrootless /sys/fs/cgroup/md-handed
        (echo 0 >/sys/fs/cgroup/md-handed/shell/cgroup.procs && as mdrootless "$other" "$work/two" handed; exit $status) || status=1
        find /sys/fs/cgroup/md-handed -depth -type d -exec rmdir {} \; || status=1
    fi
    if wanted plain "a user without a systemd of its own"; then
        as mdrootless "$other" "$work/two" plain
    fi
    if wanted alone "a user without subordinate ids"; then
        sed -i /^mdrootless:/d /etc/subuid /etc/subgid
        as mdrootless "$other" "$work/two" alone
    fi
    [ -z "$(find /tmp/minidocker-"$other" "$work/one/run" -name '*.sock' 2>/dev/null)" ] || status=1
    userdel --remove mdrootless 2>/dev/null
    rm -rf "$work" "/tmp/minidocker-$other"
    [ $status = 0 ] && echo "all parts held"
    exit $status
fi

part=$2 work=$3
cd "$work" || exit 2
failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
# equal WHAT WANTED GOT
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }
# has WHAT PATTERN TEXT
has() { case $3 in *$2*) good "$1" ;; *) bad "$1" "no \"$2\" in: $3" ;; esac; }
md() { $MINIDOCKER "$@" 2>&1; }
clean() { for id in $($MINIDOCKER ps -aq 2>/dev/null); do $MINIDOCKER rm -f "$id" >/dev/null 2>&1; done; }
trap clean EXIT

md image make busybox >/dev/null || bad "an image is made offline"
has "a container says what it was told to" "hi" "$(md run --rm --network none busybox echo hi)"
md run --rm --network none busybox sh -c 'exit 3' >/dev/null
equal "its exit status is ours" 3 $?
has "root there is the user here" " $(id -u) " "$(md run --rm --network none busybox cat /proc/self/uid_map | tr -s ' \n' ' ')"
equal "the host's network is the host's" "$(readlink /proc/self/ns/net)" "$(md run --rm --network host busybox readlink /proc/self/ns/net | tail -n 1)"
md run -d --name web --network none -m 64m --pids-limit 50 --cpus 0.5 busybox sleep 1000 >out
has "it runs in the background" "Up " "$(md ps)"
equal "a further process runs beside it" "in" "$(md exec web echo in)"
equal "a further process without us" "" "$(md exec -d web sleep 500)"
has "and is there" "sleep 500" "$(md top web)"
has "a terminal" "/dev/pts/" "$(script -qec "$MINIDOCKER exec -it web tty" /dev/null)"
has "its use is told" "web" "$(md stats --no-stream)"
echo text >in
equal "files go in" "" "$(md cp in web:/tmp/in)"
md cp web:/tmp/in out2 >/dev/null
equal "and out, as the user's" "text $(id -u)" "$(cat out2) $(stat -c %u out2)"
if [ "$part" = delegated ] || [ "$part" = handed ]; then
    equal "nothing is warned of" "1" "$(wc -l <out)"
    id=$(md inspect --format '{{.Id}}' web)
    group=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(md inspect --format '{{.State.Pid}}' web)/cgroup")
    own=/sys/fs/cgroup/md-handed/minidocker/$id
    [ "$part" = handed ] || own=/sys/fs/cgroup/user.slice/user-$(id -u).slice/user@$(id -u).service/user.slice/minidocker-$id.scope
    equal "its cgroup is where it may be" "$own" "$group"
    equal "memory is limited" 67108864 "$(cat "$group/memory.max")"
    equal "processes are limited" 50 "$(cat "$group/pids.max")"
    equal "CPU is limited" "50000 100000" "$(cat "$group/cpu.max")"
    equal "it sees its own cgroup as the root" "0::/" "$(md exec web cat /proc/self/cgroup)"
    md pause web >/dev/null
    has "it is frozen" "(Paused)" "$(md ps)"
    md unpause web >/dev/null
    md update -m 96m --memory-swap 192m web >/dev/null
    equal "its limit is changed" 100663296 "$(cat "$group/memory.max")"
    has "a running container becomes an image, frozen meanwhile" "sha256:" "$(md commit web mine:1)"
    md run --name big --network none -m 8m --memory-swap 8m busybox sh -c 'x=$(head -c 60000000 /dev/zero | tr "\0" x); echo ${#x}' >/dev/null
    equal "who wants too much memory is killed" 137 $?
    [ "$part" = delegated ] || equal "and that is told" true "$(md inspect --format '{{.State.OOMKilled}}' big)"
else
    has "limits are discarded, and that is told" "--memory: no cgroup with the controller memory is delegated to this user: limit discarded" "$(cat out)"
    has "pause says what it lacks" "has no cgroup, which pause needs" "$(md pause web)"
    has "update says what it lacks" "no cgroup with the controller memory is delegated to this user" "$(md update -m 64m web)"
    has "a running container becomes an image as it goes" "without a cgroup it can't be paused" "$(md commit web mine:1)"
fi
if [ "$part" = alone ]; then
    has "one id is told" "/etc/subuid has no ids for mdrootless" "$(md run --rm --network none busybox true)"
    has "and others are refused" "user 1000 can't be had without root" "$(md run --rm --network none -u 1000 busybox true)"
else
    equal "other ids are there" "1000" "$(md exec -u 1000 web id -u)"
    md exec web sh -c 'touch /tmp/theirs; chown 5:7 /tmp/theirs'
fi
equal "its image goes out and comes back" "in" "$(md save mine:1 >mine.tar && md rmi mine:1 >/dev/null && md load -i mine.tar >/dev/null && md run --rm --network none mine:1 ls /tmp | grep -x in)"
md run -d --name again --network none --restart on-failure:1 busybox sh -c 'exit 3' >/dev/null
md run -d --name well --network none --health-cmd true --health-interval 1s busybox sleep 1000 >/dev/null
for _ in $(seq 100); do
    [ "$(md inspect --format '{{.RestartCount}} {{.State.Status}}' again) $(md inspect --format '{{.State.Health.Status}}' well)" = "1 exited healthy" ] && break
    sleep 0.2
done
equal "a policy restarts" "1 exited" "$(md inspect --format '{{.RestartCount}} {{.State.Status}}' again)"
equal "a check tells health" "healthy" "$(md inspect --format '{{.State.Health.Status}}' well)"
md stop -t 0 web >/dev/null
has "it is stopped" "Exited (137)" "$(md ps -a)"
has "what it changed is told" "A /tmp/in" "$(md diff web)"
has "what takes root is refused by name" "device rules take root on the host" "$(md run --rm --device-cgroup-rule 'c 1:3 r' busybox true)"
md rm -f again well >/dev/null
equal "nothing is wrong" "nothing wrong" "$(md system check)"
clean
md image prune -af >/dev/null
equal "nothing is left" "" "$(find "$work/.local/share/minidocker/containers" "$work/.local/share/minidocker/layers" -mindepth 1 2>/dev/null)"
equal "nobody is left" "" "$(pgrep -u "$(id -u)" -f minidocker-monitor)"

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
