"""Docker Swarm of three nodes, each in namespaces of its own, with pyoci as the nodes' default runtime as it is with runc.

A kernel without IPVS has no virtual addresses for services: they are found by DNS (--endpoint-mode dnsrr), and published on their hosts.
"""

import difflib
import re

import engine_daemons
import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines", "engines-long")

DEADLINE_S = 120
GIVEN = """
. ./clients
bb=127.0.0.1:1/bb
service() { n1 service create -d -q --no-resolve-image "$@" >/dev/null; }
replicas() { until [ "$(n1 service ls --filter name=$1 --format '{{.Replicas}}')" = $2 ]; do sleep 0.1; done; echo "$1 $2"; }
task() { n$1 ps -q --filter label=com.docker.swarm.service.name=$2 | head -n 1; }
"""
# name: (script, what it prints)
STORY = {
    "join": (
        "n1 swarm init --advertise-addr 10.99.0.11 --listen-addr 10.99.0.11:2377 --data-path-addr 10.99.0.11 --default-addr-pool 10.96.0.0/16 >/dev/null; "
        "token=$(n1 swarm join-token -q worker); for n in 2 3; do n$n swarm join --token $token --advertise-addr 10.99.0.1$n --listen-addr 10.99.0.1$n:2377 10.99.0.11:2377; done; "
        "until [ $(n1 node ls --format '{{.Status}}' | grep -c Ready) = 3 ]; do sleep 0.1; done; n1 node ls --format '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}' | sort",
        "n1 Ready Active Leader"),
    "service": (
        "n1 network create -d overlay --attachable ov >/dev/null; echo s3cret | n1 secret create sec - >/dev/null; echo c0nfig | n1 config create conf - >/dev/null; "
        "service --name web --replicas 3 --network ov --endpoint-mode dnsrr --secret sec --config conf --limit-memory 64m --stop-grace-period 1s --hostname task $bb httpd -f -p 80 -h /www; "
        "replicas web 3/3; for n in 1 2 3; do n$n ps -q | wc -l; done", "web 3/3\n1\n1\n1"),
    "secret, config and limit": ("for n in 1 2 3; do n$n exec $(task $n web) sh -c 'cat /run/secrets/sec /conf; hostname; cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max'; done",
                                 "s3cret\nc0nfig\ntask\n67108864"),
    "other nodes": ("n2 run --rm --network ov $bb sh -c 'for ip in $(nslookup -type=a web 2>/dev/null | grep -o \"10\\.96\\.[0-9.]*\"); do wget -qO- http://$ip/; done'",
                    "hello from busybox\nhello from busybox\nhello from busybox"),
    "scale": ("n1 service scale -d web=5 >/dev/null; replicas web 5/5", "web 5/5"),
    "rolling update": ("n1 service update -q --no-resolve-image --detach=false --update-parallelism 2 --env-add V=2 web >/dev/null; for n in 1 2 3; do n$n exec $(task $n web) sh -c 'echo V $V'; done",
                       "V 2\nV 2\nV 2"),
    "killed task": ("task=$(task 2 web); n2 kill $task >/dev/null; while n2 ps -q --no-trunc | grep -q $task; do sleep 0.1; done; replicas web 5/5", "web 5/5"),
    "failing task": ("service --name bad --restart-max-attempts 1 --restart-delay 100ms $bb sh -c 'exit 3'; until n1 service ps --no-trunc --format '{{.Error}}' bad | grep -o 'non-zero exit (3)'; do sleep 0.1; done "
                     "| head -n 1; n1 service rm bad", "non-zero exit \\(3\\)"),
    "published": ("service --name pub --mode global --endpoint-mode dnsrr --publish mode=host,published=8081,target=80 $bb httpd -f -p 80 -h /www; replicas pub 3/3; "
                  "until busybox wget -qO- http://10.99.0.12:8081/; do sleep 0.1; done 2>/dev/null", "hello from busybox"),
    "drain": ("n1 node update --availability drain n3; until [ -z \"$(n3 ps -q)\" ]; do sleep 0.1; done; replicas web 5/5; n3 ps -q | wc -l", "web 5/5\n0"),
    "rm": ("n1 service rm web pub; for n in 1 2 3; do until [ -z \"$(n$n ps -q)\" ]; do sleep 0.1; done; done; echo gone", "gone"),
}  # fmt: skip


def test_swarm_is_as_under_runc(archive):
    told = {}
    for runtime in ("peer", "pyoci"):
        with engine_daemons.swarm(archive, runtime) as place:
            used = place.sh(GIVEN + "for n in 1 2 3; do n$n info -f '{{.DefaultRuntime}}'; done").output
            assert used == f"{runtime}\n" * 3
            told[runtime] = []
            for name, (script, wanted) in STORY.items():
                done = place.sh(GIVEN + script, timeout_s=DEADLINE_S)
                assert re.search(wanted, done.output), f"{runtime}: {name}: {done}"
                told[runtime] += [f"{name}:", *place.plain(done.output).split("\n")]
    changes = list(difflib.unified_diff(told["peer"], told["pyoci"], "runc", "pyoci", n=1, lineterm=""))
    assert not changes, "\n".join(changes)
