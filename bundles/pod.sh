#!/bin/sh
# Two containers that share a host name, a network, System V IPC and process numbers:  bundles/pod.sh
# pod-b joins the namespaces of pod-a by path. Their real names, /proc/PID/ns/KIND, aren't known before pod-a runs, so this gives them
# names that are: bind mounts below /run/pyoci-pod, as `ip netns add` makes them below /run/netns.
# PYOCI names the runtime and its global options, as in PYOCI="runc --root /tmp/pod".
set -eu
cd "$(dirname "$0")"
pyoci=${PYOCI:-pyoci}
names=/run/pyoci-pod

finish() {
    for kind in pid uts ipc net; do
        umount "$names/$kind" 2>/dev/null || true
    done
    $pyoci delete --force pod-a || true
    rm -r "$names"
}

mkdir -m 700 "$names" # fails where another pod uses them
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

$pyoci run --detach --bundle pod-a --pid-file "$names/pod-a.pid" pod-a
for kind in pid uts ipc net; do
    : >"$names/$kind"
    mount --bind "/proc/$(cat "$names/pod-a.pid")/ns/$kind" "$names/$kind"
done
$pyoci run --bundle pod-b pod-b
