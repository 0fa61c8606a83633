"""The runtime's own program must never show in a container's /proc: who opens /proc/PID/exe there holds the host's file (CVE-2019-5736)."""

# Every program that any process of the pid namespace ever was, a line each; the loop's own programs are busybox.
WATCH = """
    trap 'exit 0' TERM
    echo ready > /seen
    while :; do
        for process in /proc/[0-9]*; do
            readlink $process/exe
        done | grep -v -e /bin/busybox -e memfd:pyoci-init >> /seen
    done
"""
EXECS = 40


def test_exec_shows_nothing_of_the_host_to_the_container(bundle, pyoci):
    bundle.shell(WATCH)
    name = pyoci.new_id()
    pyoci.ok("run", "--detach", "--bundle", bundle.path, name)
    seen = bundle.rootfs / "seen"
    while not seen.exists() or not seen.read_text():
        pass
    for _ in range(EXECS):
        pyoci.ok("exec", name, "true")
    pyoci.ok("delete", "--force", name)
    assert set(seen.read_text().split()) == {"ready"}
