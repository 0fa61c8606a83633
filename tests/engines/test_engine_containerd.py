"""containerd's shim with pyoci as it is with runc, driven by ctr: go-runc's command lines, FIFOs, JSON logs, --process files."""

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "^id uid=0"),
        ("--memory-limit 33554432 --cpu-quota 50000 --cpu-period 100000", "^id uid=0"),
        ("--read-only --cwd /tmp --env K=V", "^K=V$"),
        ("--seccomp", "^Seccomp:.2"),
        ("--net-host", r"net:\[shared\]"),
        ("--with-ns pid:/proc/1/ns/pid", r"pid:\[shared\]"),
        ("--mount type=bind,src=$PWD/shared,dst=/e,options=rbind:ro --mount type=tmpfs,src=tmpfs,dst=/t,options=size=4k", " /t "),
        ("--device /dev/fuse --allow-new-privs", "fuse"),
        ("--cap-drop CAP_CHOWN --cap-add CAP_NET_ADMIN", "^CapEff:"),
        ("-t", "pts/0"),
    ],
)
def test_container_looks_as_under_runc(containerd, options, wanted):
    hostname = "" if "-t" in options.split() else "--env HOSTNAME=portrait"
    run = f"$RUN --rm {hostname} {options} $I $NAME portrait"
    containerd.same(f'script -qec "{run}" /dev/null' if options == "-t" else run, wanted)


# ctr loses the output of an exec once in a while, with runc too, when the task has only just begun.
TASK = "$RUN -d $I $NAME sh -c 'trap \"exit 3\" TERM; touch /ready; while :; do sleep 0.1; done'; until [ \"$(ctr task exec --exec-id r$NAME $NAME ls /ready 2>&1)\" = /ready ]; do :; done; "
END = "ctr task kill -s KILL $NAME; ctr task rm -f $NAME; ctr container rm $NAME"
STATE = "ctr task ls | awk -v c=$NAME '$1 == c {print $3}'; "
COMMANDS = {
    "exit status": ("$RUN --rm $I $NAME sh -c 'exit 7'", "", 7),
    "no such program": ("$RUN --rm $I $NAME /no/such >/dev/null 2>&1", "", 1),
    "standard outputs": ("$RUN --rm $I $NAME sh -c 'seq 100000 | md5sum; echo err >&2' 2>err; cat err", "^err$", 0),
    "kill and delete": (TASK + "ctr task kill -s TERM $NAME; until ctr task ls | grep \"^$NAME .*STOPPED\" >/dev/null; do :; done; ctr task rm $NAME 2>&1 | grep -o 'exit code [0-9]*'; "
                        "ctr container rm $NAME", "^exit code 3$", 0),
    "pause": (TASK + f"ctr task pause $NAME; {STATE} ctr task resume $NAME; {STATE} {END} 2>&1 | grep -o 'exit code.*'; true", "^PAUSED\nRUNNING$", 0),
    "exec": (TASK + "ctr task exec --exec-id a --user 1000 --cwd /tmp $NAME sh -c 'id -u; pwd; exit 9'; echo $?; ctr task exec --exec-id b $NAME portrait; "
             f"ctr task exec --exec-id c $NAME /no/such >/dev/null 2>&1; echo $?; {END} >/dev/null 2>&1", "^1000\n/tmp\n9$", 0),
    "exec with a terminal": (TASK + f"script -qec \"ctr task exec -t --exec-id a $NAME tty\" /dev/null | grep -o '/dev/pts/[0-9]*'; {END} >/dev/null 2>&1", "/dev/pts/", 0),
    "ps and metrics": (TASK + f"ctr task ps $NAME | awk '{{print NF}}' | sort -u; ctr task metrics $NAME | awk '{{print $1}}'; {END} >/dev/null 2>&1", "^memory", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_command_ends_as_under_runc(containerd, name):
    script, wanted, status = COMMANDS[name]
    containerd.same(script, wanted, status)


def test_nothing_is_left_in_the_state_root(containerd):
    assert containerd.run("find $PWD/rr/pyoci -mindepth 2", "pyoci").output == ""
    assert containerd.run(f"find /sys/fs/cgroup -type d -path '*{containerd.place.group}/*'", "pyoci").output == ""
