"""Two hundred containers through dockerd, fifty of them at once, each ended in one of eight ways: then the place is as it was before."""

import collections
import pathlib
import re
import time

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines", "engines-long")

SETTLE_S = 30
IDLE = 8  # descriptors that a daemon may have more of: it keeps connections for later, under runc too; each life here is lived 25 times
LIVES = r"""
n=$1 name=many-$1
up() { docker run -d --runtime $RT --name $name "$@" >/dev/null || exit 1; }
case $((n % 8)) in
0) docker run --rm --runtime $RT --name $name bb true ;;
1) docker run --rm --runtime $RT --name $name --network none bb sh -c 'exit 3'; [ $? = 3 ] ;;
2) up --network none bb sleep 1000; docker exec $name true && docker rm -f $name ;;
3) up -m 32m --pids-limit 20 bb sleep 1000; docker kill $name && docker rm $name ;;
4) up --network none --read-only --tmpfs /t -v $PWD/shared:/e bb sleep 1000; docker pause $name && docker rm -f $name ;;
5) ! docker run --rm --runtime $RT --name $name bb /no/such 2>/dev/null ;;
6) up --init --network none bb sleep 1000; docker exec -d $name sleep 1000; docker stop -t 1 $name && docker rm $name ;;
7) up --network none bb sh -c 'while :; do :; done & sleep 1000'; (docker kill $name; docker exec $name true; docker pause $name) >/dev/null 2>&1 & docker rm -f $name; r=$?; wait; [ $r = 0 ] ;;
esac >/dev/null || { echo "life $n"; exit 1; }
"""


def look(place):
    """{kind: Counter} of all that a container could leave behind."""
    first = f"/proc/{place.enter[2]}"
    seen = collections.defaultdict(collections.Counter)
    # In the place's own /proc, so that nothing else of the machine is seen; the shell and its children are not there any more.
    said = place.sh("for f in /proc/[0-9]*; do [ ${f#/proc/} = $$ ] || echo $f $(cat $f/comm) $(readlink $f/ns/*); done 2>/dev/null").output
    for line in said.splitlines():
        _, *words = line.split()
        if words and words[0] not in ("cat", "readlink", "sh") and not words[0].startswith("["):
            seen["processes"][words[0]] += 1
            seen["namespaces"].update(words[1:])
    seen["namespaces"] = collections.Counter(list(seen["namespaces"]))
    seen["mounts"].update(line.split(" - ")[0].split(" ", 3)[3] for line in pathlib.Path(f"{first}/mountinfo").read_text().splitlines())
    seen["cgroups"].update(place.sh(f"find /sys/fs/cgroup -type d -path '*/{place.group}/*'").output.splitlines())
    seen["links"].update(re.findall(r"^\d+: ([^:@]+)", place.sh("ip -o link").output, re.MULTILINE))
    found = "find $PWD/exec $PWD/data/containers $PWD/data/overlay2 $PWD/data/network /run -mindepth 1 -maxdepth 4"
    # libnetwork sweeps the mount points in exec/netns once a minute; what was mounted there shows among the mounts.
    seen["files"].update(line for line in place.sh(found).output.splitlines() if "/exec/netns/" not in line)
    daemons = place.sh("for f in $(pidof dockerd containerd); do for d in /proc/$f/fd/*; do echo $(cat /proc/$f/comm) $(readlink $d); done; done").output
    seen["descriptors"].update(re.sub(r"\d+", "N", line) for line in daemons.splitlines())
    return seen


def came(before, after):
    """Lines that tell what there is more of."""
    more = [(kind, name, number) for kind in after for name, number in (after[kind] - before[kind]).items()]
    return [f"{kind}: {name} +{number}" for kind, name, number in more if kind != "descriptors" or number > IDLE]


def test_two_hundred_containers_leave_the_host_as_before(docker):
    (docker.place.folder / "life.sh").write_text(LIVES)
    assert docker.run("for n in $(seq 8); do sh life.sh $n || exit 1; done", "pyoci").status == 0
    before = look(docker.place)
    assert before["mounts"] and before["namespaces"] and before["files"] and before["descriptors"], before
    done = docker.place.sh("export RT=pyoci; seq 100 149 | xargs -P 50 -n 1 sh life.sh && seq 150 299 | xargs -P 6 -n 1 sh life.sh", timeout_s=500)
    assert done.status == 0, done
    deadline_s = time.monotonic() + SETTLE_S
    while (changes := came(before, look(docker.place))) and time.monotonic() < deadline_s:
        time.sleep(0.1)  # daemons close and unmount when they like
    assert not changes, "\n".join(changes)
    assert docker.place.sh("docker ps -aq").output == ""
