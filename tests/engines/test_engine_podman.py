"""podman, conmon and buildah with pyoci as they are with runc."""

import engine_image
import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "^Seccomp:.2"),
        ("--privileged", "^id uid=0"),
        ("-m 64m --cpus 0.5 --pids-limit 33", "^id uid=0"),
        ("-u app --group-add 77", "^Groups:.*77"),
        ("--read-only --tmpfs /t", "Read-only file system"),
        ("-v vol$RT_NAME:/d -v $PWD/shared:/e:ro,rslave --mount type=tmpfs,dst=/g", " /g "),
        ("--cap-drop all --cap-add net_admin", "^CapEff:.*1000$"),
        ("--security-opt no-new-privileges", "^NoNewPrivs:.1"),
        ("--security-opt seccomp=unconfined --security-opt mask=/proc/uptime --security-opt unmask=/proc/acpi", "^/proc/uptime masked"),
        ("--ulimit nofile=200:200 --ulimit sigpending=100:200 --ulimit nproc=4096:4096 --ulimit core=0", "^Max pending signals +100 +200"),
        ("--device /dev/fuse --device /dev/null:/dev/xnull:r", "xnull"),
        ("--sysctl net.ipv4.ip_unprivileged_port_start=42 --shm-size 3m", "port_start 42"),
        ("--network none", "^lo$"),
        ("--network host --pid host --ipc host --uts host", r"net:\[shared\]"),
        ("--cgroupns private", r"cgroup:\[own\]"),
        ("--uidmap 0:100000:65536 --gidmap 0:100000:65536", r"user:\[own\]"),
        ("--init -w /tmp --umask 077", "^where /tmp .*0077"),
        ("-t", "pts/0"),
    ],
)
def test_container_looks_as_under_runc(podman, options, wanted):
    network = "" if "--network" in options else "--network none"
    hostname = "" if "--uts host" in options else "--hostname portrait"
    run = f"$RUN {network} {hostname} {options} $I portrait"
    podman.same(f'script -qec "{run}; true" /dev/null' if options == "-t" else run, wanted)


LOOP = "sh -c 'trap \"exit 5\" TERM; echo ready; while :; do sleep 0.1; done'"
UP = f"$RUN_D --network none --hostname h $I {LOOP} >/dev/null; until podman logs $NAME 2>&1 | grep -q ready; do :; done; "
END = "podman rm -f -t 0 $NAME >/dev/null"
COMMANDS = {
    "exit status": ("$RUN --network none $I sh -c 'exit 7'", "", 7),
    "no such program": ("$RUN --network none $I /no/such >/dev/null 2>&1", "", 127),
    "no such program on PATH": ("$RUN --network none $I nosuch >/dev/null 2>&1", "", 127),
    "a directory as program": ("$RUN --network none $I /etc >/dev/null 2>&1", "", 126),
    "a program that may not be executed": ("$RUN --network none $I /etc/passwd >/dev/null 2>&1", "", 126),
    "standard input and outputs": ("seq 100000 | $RUN --network none -i $I sh -c 'wc -l; echo err >&2'", "^100000$", 0),
    "stop": (UP + f"podman stop -t 9 $NAME; podman inspect -f '{{{{.State.ExitCode}}}} {{{{.State.Status}}}}' $NAME; {END}", "^5 exited", 0),
    "kill and wait": (UP + f"$PODMAN kill $NAME; podman wait $NAME; {END}", "^137$", 0),
    "start again": (UP + f"$PODMAN stop -t 9 $NAME; $PODMAN start $NAME; podman exec $NAME hostname; {END}", "^h$", 0),
    "pause": (UP + f"$PODMAN pause $NAME; podman inspect -f '{{{{.State.Status}}}}' $NAME; $PODMAN unpause $NAME; podman exec $NAME hostname; {END}", "^paused\n.*\nh$", 0),
    "update": (UP + "$PODMAN update -m 96m $NAME >/dev/null; cat /sys/fs/cgroup/memory$(sed -n s/.*:memory://p /proc/$(podman inspect -f '{{.State.Pid}}' $NAME)/cgroup)/memory.limit_in_bytes"
               f" || cat /sys/fs/cgroup$(sed -n s/0:://p /proc/$(podman inspect -f '{{{{.State.Pid}}}}' $NAME)/cgroup)/memory.max; {END}", "^100663296$", 0),
    "exec": (UP + f"podman exec $NAME portrait; podman exec -u 1000 -e K=V -w /tmp $NAME sh -c 'id -u; pwd; echo $K; exit 9'; echo $?; {END}", "^1000\n/tmp\n(V)?\n9$", 0),
    "exec of nothing": (UP + f"for program in /no/such nosuch /etc; do podman exec $NAME $program >/dev/null 2>&1; echo $?; done; {END}", "^127\n127\n126$", 0),
    "exec with a terminal": (UP + f"script -qec \"podman exec -it $NAME tty\" /dev/null; {END}", "/dev/pts/", 0),
    "top and stats": (UP + f"podman top $NAME comm | head -n 2; podman stats --no-stream --format '{{{{.PIDs}}}}' $NAME | grep -c .; {END}", "^COMMAND", 0),
    "out of memory": ("podman --runtime $RT run --cgroup-parent $GROUP --network none --name $NAME -m 16m --memory-swap 16m $I sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); echo ${#x}'; echo $?; "
                      + END, "^137$", 0),
    "pod": ("podman pod create --cgroup-parent $GROUP --name p$NAME --network none --infra-image $I --infra-command 'sleep 100' --infra-name i$NAME >/dev/null; "
            "podman --runtime $RT run --rm --cgroup-parent $GROUP --pod p$NAME $I ls /sys/class/net; podman pod rm -f -t 0 p$NAME >/dev/null", "^lo$", 0),
    "pod of a file": (
        "sed s/NAME/$NAME/g kube.yaml >$NAME.yaml; $PODMAN play kube --network none $NAME.yaml >/dev/null || exit 1; $PODMAN exec k$NAME-web portrait | grep -vE '^(HOSTNAME|where|/etc|/run|/proc/self)'; "
        "$PODMAN exec k$NAME-other wget -qO- http://127.0.0.1/; podman logs k$NAME-other; $PODMAN pod pause k$NAME >/dev/null; podman inspect -f '{{.State.Status}}' k$NAME-web; "
        "$PODMAN pod unpause k$NAME >/dev/null; $PODMAN play kube --down $NAME.yaml >/dev/null; podman pod ps -q | wc -l", "^hello from busybox\nsaid\npaused\n0$", 0),
    "pod whose containers share": (
        "$PODMAN pod create --cgroup-parent $GROUP --name p$NAME --network none --share net,ipc,uts,pid >/dev/null; $PODMAN run -d --cgroup-parent $GROUP --pod p$NAME --name $NAME $I sleep 1234 >/dev/null; "
        "$RUN --pod p$NAME $I sh -c 'ps -o args | grep -c \"[s]leep 1234\"; readlink /proc/self/ns/net'; $PODMAN pod rm -f -t 0 p$NAME >/dev/null", "^1\nnet:\\[own", 0),
    "health": (
        f"$RUN_D --network none --health-cmd 'test -f /ok' --health-interval disable --health-retries 1 $I sh -c 'touch /ok; sleep 1000' >/dev/null; "
        f"until $PODMAN healthcheck run $NAME; do :; done; podman exec $NAME rm /ok; $PODMAN healthcheck run $NAME; echo $?; {END}", "^1$", 0),
    "logs": ("$RUN_D --network none $I sh -c 'echo out; echo err >&2; printf half' >/dev/null; podman wait $NAME; podman logs $NAME 2>err; echo; cat err; " + END, "^out\nhalf\nerr", 0),
    "buildah": (
        "exec 2>&1; c=$(buildah from --pull-never $I); buildah run --runtime $RT --hostname h $c portrait | grep -vE '^(HOSTNAME|where|TERM)' | sed s/buildah-buildah[0-9]*/GROUP/; buildah run --runtime $RT --user app $c sh -c 'id -u; exit 7'; echo $?; "
        "buildah run --runtime $RT $c sh -c 'echo x >/made'; buildah run --runtime $RT $c cat /made; buildah rm $c >/dev/null", "^1000\n(.*\n)?7\nx$", 0),
}  # fmt: skip


KUBE = """
apiVersion: v1
kind: Pod
metadata: {name: kNAME}
spec:
  containers:
  - {name: web, image: IMAGE, imagePullPolicy: Never, command: [httpd, -f, -p, "80", -h, /www], resources: {limits: {memory: 64Mi, cpu: 500m}}, env: [{name: K, value: V}]}
  - {name: other, image: IMAGE, imagePullPolicy: Never, command: [sh, -c, "echo said; exec sleep 1000"], securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}}
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_ends_as_under_runc(podman, name):
    (podman.place.folder / "kube.yaml").write_text(KUBE.replace("IMAGE", engine_image.NAME))
    script, wanted, status = COMMANDS[name]
    podman.same(script, wanted, status)


def test_image_is_built(podman):
    folder = podman.place.folder / "build"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM docker.io/library/bb\nRUN echo built >/built && id -u\nUSER app\nRUN id -un >/tmp/name\nCMD cat /built /tmp/name\n")
    (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    podman.same(f"podman --runtime $RT build -q --network none --signature-policy {folder}/policy.json -t built$RT_NAME {folder} >/dev/null; "
                "$RUN --network none localhost/built$RT_NAME", "^built\napp$")


def test_checkpoint_ends_the_container_or_has_no_effect(podman):
    """podman asks for the flag's existence by leaving out its value, and reads that from the error.  Many a criu does not start on this kernel."""
    done = podman.run("$RT restore --lsm-mount-context; $RT checkpoint --help >/dev/null; echo $?", "pyoci")
    assert "flag needs an argument" in done.output and done.output.endswith("\n0\n"), done
    done = podman.run(UP + f"podman container checkpoint $NAME >/dev/null 2>&1 && echo done; podman inspect -f '{{{{.State.Status}}}}' $NAME; {END}", "pyoci")
    assert done.output in ("done\nexited\n", "running\n"), done


@pytest.mark.needs("unprivileged_userns", "newuidmap")
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "^id uid=0"),
        ("-u app --group-add 77", "^Groups:.*77"),
        ("--read-only --tmpfs /t", "Read-only file system"),
        ("-v vol$RT_NAME:/d", " /d "),
        ("--cap-drop all --cap-add net_admin", "^CapEff:.*1000$"),
        ("--userns keep-id", "^id uid="),
        ("--network host --pid host --uts host", r"net:\[shared\]"),
        ("--security-opt seccomp=unconfined", "^Seccomp:.0"),
        ("-t", "pts/0"),
    ],
)
def test_users_container_looks_as_under_runc(podman_of_user, options, wanted):
    network = "" if "--network" in options else "--network none"
    hostname = "" if "--uts host" in options else "--hostname portrait"
    run = f"$RUN {network} {hostname} {options} $I portrait"
    podman_of_user.same(f'script -qec "{run}; true" /dev/null' if options == "-t" else run, wanted)


@pytest.mark.needs("unprivileged_userns", "newuidmap")
@pytest.mark.parametrize("name", ["exit status", "no such program", "a directory as program", "stop", "kill and wait", "start again", "exec", "exec of nothing"])
def test_users_command_ends_as_under_runc(podman_of_user, name):
    script, wanted, status = COMMANDS[name]
    podman_of_user.same(script, wanted, status)
