"""dockerd with pyoci as it is with runc: what a container sees under each option, and how each command ends."""

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines")

LOOP = 'sh -c "trap \\"exit 5\\" TERM; echo ready; while :; do sleep 0.1; done"'


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "^Seccomp:.2"),
        ("--privileged", "^CapEff:.*ff"),
        ("--pids-limit 50", "^50$"),
        ("-m 64m --memory-reservation 32m --memory-swap 128m", "^67108864$"),
        ("-m 64m --memory-swap -1 --oom-kill-disable", "^67108864$"),
        ("--cpus 0.5 --cpu-shares 512", "^50000"),
        ("--cpuset-cpus 0 --cpuset-mems 0", "^0$"),
        ("--oom-score-adj 123", "oom 123"),
        ("-u app", "^id uid=1000"),
        ("-u 1234:5678 --group-add 77", "^Groups:.*77"),
        ("--read-only --tmpfs /t:size=1m,mode=1770,exec", "Read-only file system"),
        ("-v vol$RT:/d -v $PWD/shared:/e:ro -v $PWD/shared:/f:rslave --tmpfs /d/below", " /d/below mode 1777 rw"),
        ("--mount type=bind,src=/etc/hostname,dst=/f,readonly --mount type=tmpfs,dst=/g,tmpfs-size=4096", " /g "),
        ("--mount type=bind,src=$PWD/shared,dst=/e,bind-propagation=rslave", "/e "),
        ("--cap-drop ALL --cap-add NET_ADMIN --cap-add CHOWN", "^CapEff:.*1001$"),
        ("--cap-add ALL --cap-drop SYS_RESOURCE", "^CapEff:.*fe"),
        ("-u app --cap-add NET_ADMIN", "^CapBnd:"),
        ("--security-opt no-new-privileges", "^NoNewPrivs:.1"),
        ("--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined", "^Seccomp:.0"),
        ("--ulimit nofile=200:200 --ulimit sigpending=100:200 --ulimit core=0", "^Max pending signals +100 +200"),
        ("--device /dev/fuse --device /dev/null:/dev/xnull:r", "xnull"),
        ("--device-cgroup-rule 'c 10:229 rwm'", "c 10:229 rwm"),
        ("--sysctl net.ipv4.ip_unprivileged_port_start=42 --sysctl kernel.msgmax=4096", "port_start 42"),
        ("--shm-size 3m", "size=3072k"),
        ("--network none", "^lo$"),
        ("--network host", r"net:\[shared\]"),
        ("--pid host", r"pid:\[shared\]"),
        ("--ipc host --uts host", r"uts:\[shared\]"),
        ("--ipc none", r"ipc:\[own\]"),
        ("--pid host --network host --ipc host --uts host", r"ipc:\[shared\]"),
        ("--cgroupns private", r"cgroup:\[own\]"),
        ("--hostname h --domainname d --add-host x:1.2.3.4 --dns 1.1.1.1", "^where / h "),
        ("-w /new/place -e A=1 -e TERM=x", "^where /new/place"),
        ("--init", "^id uid=0"),
        ("-t", "pts/0"),
        ("-i", "^id uid=0"),
    ],
)
def test_container_looks_as_under_runc(docker, needs, options, wanted):
    if {"--privileged", "--cap-add ALL"} & {options, options[:13]}:
        needs("all-capabilities")
    hostname = "" if "--uts host" in options or "--hostname" in options else "--hostname portrait"
    run = f"$RUN {hostname} {options} bb portrait"
    docker.same(f'script -qec "{run}" /dev/null' if options == "-t" else run, wanted)


COMMANDS = {
    "exit status": ("$RUN bb sh -c 'exit 7'", "", 7),
    "no such program": ("$RUN bb /no/such >/dev/null 2>&1", "", 127),
    "no such program on PATH": ("$RUN bb nosuch >/dev/null 2>&1", "", 127),
    "a directory as program": ("$RUN bb /etc >/dev/null 2>&1", "", 126),
    "a program that may not be executed": ("$RUN bb /etc/passwd >/dev/null 2>&1", "", 126),
    "a file mounted on a directory": ("$RUN -v /etc/passwd:/etc bb true >/dev/null 2>&1", "", 125),
    "killed by a signal": ("$RUN bb sh -c 'kill -9 $$'; $RUN --init bb sh -c 'kill -TERM $$'", "", 143),
    "standard input": ("seq 100000 | $RUN -i bb md5sum", "^[0-9a-f]{32}", 0),
    "standard outputs": ("$RUN bb sh -c 'seq 100000; echo err >&2' 2>&1 >/dev/null", "^err$", 0),
    "terminal size": (
        "script -qec \"stty rows 40 cols 100; $RUN -it bb sh -c 'until stty size 2>/dev/null | grep 40; do :; done'\" /dev/null", "40 100$", 0),
    "init": ("$RUN --init bb sh -c 'cat /proc/1/comm; (sleep 0.1 &); true'", "init|tini", 0),
    "shared namespaces": (
        "$RUN_D bb sleep 100 >/dev/null; $RUN --network container:$NAME --pid container:$NAME bb sh -c 'ps -o comm; ls /sys/class/net'; "
        "docker rm -f $NAME", "^sleep$", 0),
    "shared ipc": (
        "$RUN_D --ipc shareable bb sleep 100 >/dev/null; docker exec $NAME touch /dev/shm/x; $RUN --ipc container:$NAME bb ls /dev/shm; docker rm -f $NAME",
        "^x$", 0),
    "ready, stop and exit status": (
        f"$RUN_D bb {LOOP} >/dev/null; docker stop -t 9 $NAME; docker inspect -f '{{{{.State.ExitCode}}}} {{{{.State.Status}}}}' $NAME; docker rm $NAME",
        "^(5|143|137) exited", 0),
    "kill": (
        "$RUN_D bb sleep 100 >/dev/null; docker kill -s KILL $NAME; docker wait $NAME; docker kill $NAME >/dev/null 2>&1; echo $?; docker rm $NAME", "^137$", 0),
    "start again": (
        "$RUN_D bb sh -c 'echo run; exit 3' >/dev/null; docker wait $NAME; docker start -a $NAME; echo $?; docker logs $NAME; docker rm $NAME", "^3$", 0),
    "restart": ("$RUN_D bb sleep 100 >/dev/null; docker restart -t 0 $NAME; docker exec $NAME hostname >/dev/null; echo $?; docker rm -f $NAME", "^0$", 0),
    "restart policy": (
        "$RUN_D --restart on-failure:2 bb sh -c 'echo tick; exit 1' >/dev/null; while ! docker inspect -f '{{.RestartCount}} {{.State.Status}}' $NAME | grep -q '2 exited'; "
        "do docker wait $NAME >/dev/null; done; docker logs $NAME; docker rm $NAME", "^tick\ntick\ntick$", 0),
    "pause": (
        "$RUN_D bb sleep 100 >/dev/null; docker pause $NAME; docker inspect -f '{{.State.Status}}' $NAME; docker exec $NAME true >/dev/null 2>&1; echo $?; docker unpause $NAME; "
        "docker exec $NAME echo on; docker pause $NAME; docker rm -f $NAME", "^paused\n1\n", 0),
    "update": (
        "$RUN_D -m 64m bb sleep 100 >/dev/null; docker update -m 96m --memory-swap 96m --cpus 0.3 --pids-limit 33 $NAME; docker exec $NAME portrait | "
        "sed -n '/^cgroups/,/^settings/p'; docker rm -f $NAME", "^100663296$", 0),
    "stats and top": (
        "$RUN_D bb sleep 100 >/dev/null; docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' $NAME | sed 's/[0-9.]*[KM]iB/MEM/'; docker top $NAME -eo comm,pid | "
        "cut -c1-6; docker top $NAME | wc -l; docker rm -f $NAME", "^1 MEM", 0),
    "cp, diff, commit": (
        "$RUN_D bb sleep 100 >/dev/null; echo cp >file; docker cp file $NAME:/file; docker cp $NAME:/etc/passwd -| tar t; docker diff $NAME; docker commit $NAME i$NAME >/dev/null; "
        "docker rm -f $NAME; $RUN i$NAME cat /file; docker rmi i$NAME >/dev/null", "^A /file", 0),
    "exec": (
        "$RUN_D --hostname h --pids-limit 50 bb sleep 100 >/dev/null; docker exec $NAME portrait; docker exec -u app -e K=V -w /tmp $NAME sh -c 'id; pwd; echo $K'; "
        "docker exec $NAME sh -c 'exit 9'; echo $?; docker rm -f $NAME", "^9$", 0),
    "exec with a terminal": (
        "$RUN_D bb sleep 100 >/dev/null; script -qec \"docker exec -it $NAME tty\" /dev/null; seq 1000 | docker exec -i $NAME wc -l; docker exec -d $NAME touch /detached; "
        "docker exec $NAME ls /detached; docker rm -f $NAME", "/dev/pts/", 0),
    "exec of nothing": (
        "$RUN_D bb sleep 100 >/dev/null; for program in /no/such nosuch /etc /etc/passwd; do docker exec $NAME $program >/dev/null 2>&1; echo $?; done; docker rm -f $NAME",
        "^126$", 0),
    "health": (
        "$RUN_D --health-cmd 'test -f /ok' --health-interval 200ms --health-retries 1 bb sh -c 'touch /ok; sleep 60' >/dev/null; "
        "until docker inspect -f '{{.State.Health.Status}}' $NAME | grep -x healthy; do :; done; docker exec $NAME rm /ok; "
        "until docker inspect -f '{{.State.Health.Status}}' $NAME | grep -x unhealthy; do :; done; docker rm -f $NAME", "^unhealthy", 0),
    "out of memory": (
        "docker run --runtime $RT --name $NAME -m 16m --memory-swap 16m bb sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); echo ${#x}'; echo $?; "
        "docker rm $NAME", "^137$", 0),
    "published port": (
        "$RUN_D -p 127.0.0.1::80 bb httpd -f -p 80 -h /www >/dev/null; docker exec $NAME wget -qO- http://127.0.0.1/; "
        "busybox wget -qO- http://$(docker port $NAME 80)/; docker rm -f $NAME", "^hello.*\nhello", 0),
}  # fmt: skip


@pytest.mark.parametrize("options", ["", "-u app", "--network none --read-only --tmpfs /t", "-v vol$RT:/d --init", "--pid host --userns host", "-m 64m --device /dev/fuse"])
def test_container_of_a_remapped_daemon_looks_as_under_runc(docker_remapped, options):
    docker_remapped.same(f"$RUN --hostname portrait {options} bb portrait; $RUN bb cat /proc/self/uid_map", "^ +0 +200000 +65536$")


def test_exec_and_copy_with_a_remapped_daemon_are_as_under_runc(docker_remapped):
    docker_remapped.same(
        "$RUN_D bb sleep 100 >/dev/null; docker exec $NAME portrait; docker exec -u app $NAME touch /tmp/x; docker exec $NAME stat -c '%u %n' /tmp/x; echo x >f; docker cp f $NAME:/f; "
        "docker exec $NAME stat -c '%u %n' /f; docker stop -t 0 $NAME; docker rm $NAME", "^1000 /tmp/x$")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_ends_as_under_runc(docker, name):
    script, wanted, status = COMMANDS[name]
    docker.same(script, wanted, status)


def test_program_without_its_interpreter_ends_with_127(docker):
    """runc says it to the container's standard error only, and dockerd shows exit status 1."""
    (docker.place.folder / "x").write_text("#!/no/such/interpreter\n")
    (docker.place.folder / "x").chmod(0o755)
    done = docker.run("$RUN -v $PWD/x:/x bb /x", "pyoci")
    assert (done.status, "exec /x: no such file or directory" in done.output) == (127, True), done


@pytest.mark.parametrize("builder", ["0", "1"], ids=["classic", "buildkit"])
def test_image_is_built(docker, builder):
    """The daemon's default runtime, and BuildKit's `runc`, are pyoci."""
    folder = docker.place.folder / f"build{builder}"
    folder.mkdir()
    (folder / "Dockerfile").write_text('FROM bb\nRUN echo built >/built && id -u\nCOPY f /w/f\nWORKDIR /w\nUSER app\nRUN id -un >/tmp/name\nCMD cat /built f /tmp/name\n')
    (folder / "f").write_text("copied\n")
    done = docker.run(f"DOCKER_BUILDKIT={builder} docker build -t built{builder} {folder}", "pyoci")
    assert done.status == 0, done
    docker.same(f"$RUN built{builder}", "^built\ncopied\napp$")


def test_nothing_is_left_in_the_state_root(docker):
    docker.run("docker ps -aq | xargs -r docker rm -f", "pyoci")
    done = docker.run("find $PWD/exec /run -path '*runtime-*/moby/*' -o -path '*/runc/moby/*'", "pyoci")
    assert done.output == ""
    assert docker.run(f"find /sys/fs/cgroup -type d -path '*/{docker.place.group}/*' -not -path '*/buildkit*'", "pyoci").output == ""
