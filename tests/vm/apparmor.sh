#!/bin/sh
# AppArmor for real: profiles of a container and of an exec, by pyoci's command line.
#
#   tests/vm/apparmor.sh           as root, on a host (or in a virtual machine) that has AppArmor enabled, and apparmor_parser
#
# Needs a static busybox, and a Python with cffi: $PYTHON, by default the tree's .venv/bin/python, and the C parts built.
# A profile of its own is loaded and removed again. Prints a line a check; ends with 0 if all held.
set -u
cd "$(dirname "$0")/../.." || exit 2
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
PYOCI=${PYOCI:-$PYTHON -m pyoci}

cannot() { echo "cannot run here: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || cannot "not root"
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || cannot "AppArmor is not enabled"
command -v apparmor_parser >/dev/null || cannot "no apparmor_parser (Debian: apparmor)"
BUSYBOX=$(command -v busybox) || cannot "no busybox (Debian: busybox-static)"

failures=0
good() { echo "ok      $1"; }
bad() { echo "FAILED  $1"; [ -n "${2:-}" ] && printf '        %s\n' "$2"; failures=$((failures + 1)); }
# equal WHAT WANTED GOT
equal() { if [ "$2" = "$3" ]; then good "$1"; else bad "$1" "wanted: $2; got: $3"; fi; }
# has WHAT PATTERN TEXT
has() { case $3 in *$2*) good "$1" ;; *) bad "$1" "no \"$2\" in: $3" ;; esac; }

work=$(mktemp -d)
profile=pyoci-apparmor-$$
pyoci() { $PYOCI --root "$work/root" "$@"; }
clean() {
    for id in "$profile" "$profile-user"; do pyoci delete --force "$id" 2>/dev/null; done
    apparmor_parser --remove "$work/profile" 2>/dev/null
    rm -rf "$work"
}
trap clean EXIT
chmod 755 "$work"

cat > "$work/profile" <<END
profile $profile flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, umount,
  deny /forbidden w,
}
profile $profile-other flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, umount,
}
END
apparmor_parser --replace "$work/profile" || cannot "the profile can't be loaded"

# bundle NAME PROFILE ARGS...: a bundle of busybox alone
bundle() {
    mkdir -p "$work/$1/rootfs/bin" && cp "$BUSYBOX" "$work/$1/rootfs/bin/busybox" && ln -sf busybox "$work/$1/rootfs/bin/sh"
    pyoci spec --bundle "$work/$1" || return
    $PYTHON - "$work/$1/config.json" "$@" <<'END'
import json, sys
path, name, profile, *args = sys.argv[1:]
config = json.load(open(path))
config["process"] |= {"terminal": False, "args": args, "apparmorProfile": profile}
config["root"]["readonly"] = False
if name == "user":
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"] |= {kind: [{"containerID": 0, "hostID": 100000, "size": 65536}] for kind in ("uidMappings", "gidMappings")}
if name == "hook":
    config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat /proc/self/attr/current > /hook"]}]}
json.dump(config, open(path, "w"))
END
}

bundle plain "$profile" /bin/sh -c 'cat /proc/self/attr/current; echo x > /forbidden && echo written; echo x > /allowed && echo allowed'
out=$(pyoci run --bundle "$work/plain" "$profile" 2>&1)
has "the process is confined" "$profile (enforce)" "$out"
has "what the profile denies is denied" "can't create /forbidden" "$out"
has "what it allows is allowed" "allowed" "$out"

bundle free unconfined /bin/sh -c 'cat /proc/self/attr/current; echo x > /forbidden && echo written'
equal "unconfined is no profile" "unconfined
written" "$(pyoci run --bundle "$work/free" "$profile" 2>&1)"

bundle missing no-such-profile /bin/sh -c true
before=$(cat /proc/self/mountinfo | wc -l)
line=$(pyoci create --bundle "$work/missing" "$profile" 2>&1)
has "a missing profile fails the create" "config.json:" "$line"
has "by its config path" "process.apparmorProfile: write exec no-such-profile to /proc/self/attr/apparmor/exec: write: No such file or directory (ENOENT)" "$line"
has "with a hint" "no such profile is loaded into the kernel" "$line"
has "and leaves no container" "container does not exist" "$(pyoci state "$profile" 2>&1)"
equal "nor a mount" "$before" "$(cat /proc/self/mountinfo | wc -l)"

bundle long "$profile" /bin/sh -c 'while :; do busybox sleep 1000; done'
equal "create" 0 "$(pyoci create --bundle "$work/long" "$profile" >"$work/out" 2>&1; echo $?)"
[ -s "$work/out" ] && cat "$work/out"
equal "start" 0 "$(pyoci start "$profile" >"$work/out" 2>&1; echo $?)"
equal "an exec is confined as its container is" "$profile (enforce)" "$(pyoci exec "$profile" /bin/busybox cat /proc/self/attr/current 2>&1)"
equal "or by the profile that it names" "$profile-other (enforce)" \
    "$(pyoci exec --apparmor "$profile-other" "$profile" /bin/busybox cat /proc/self/attr/current 2>&1)"
has "or not at all, by a missing one" "no such profile is loaded into the kernel" \
    "$(pyoci exec --apparmor nowhere "$profile" /bin/busybox true 2>&1)"
echo '{"cwd": "/", "args": ["/bin/busybox", "cat", "/proc/self/attr/current"], "apparmorProfile": "unconfined"}' > "$work/process.json"
equal "process.json names one, too" unconfined "$(pyoci exec --process "$work/process.json" "$profile" 2>&1)"
equal "delete" 0 "$(pyoci delete --force "$profile" >"$work/out" 2>&1; echo $?)"

bundle user "$profile" /bin/sh -c 'while :; do busybox sleep 1000; done'
chown -R 100000:100000 "$work/user/rootfs"
equal "create in a user namespace" 0 "$(pyoci create --bundle "$work/user" "$profile-user" >"$work/out" 2>&1; echo $?)"
[ -s "$work/out" ] && cat "$work/out"
pyoci start "$profile-user"
equal "exec in a user namespace" "$profile (enforce)" "$(pyoci exec "$profile-user" /bin/busybox cat /proc/self/attr/current 2>&1)"
equal "no new privileges are no obstacle" "$profile-other (enforce)" \
    "$(pyoci exec --no-new-privs --apparmor "$profile-other" "$profile-user" /bin/busybox cat /proc/self/attr/current 2>&1)"

bundle hook "$profile" /bin/sh -c 'cat /hook'
equal "a startContainer hook runs under it, too" "$profile (enforce)" "$(pyoci run --bundle "$work/hook" "$profile" 2>&1)"

if [ $failures = 0 ]; then echo "all held"; else echo "$failures failed"; exit 1; fi
