"""The OCI runtime below: pyoci in this process, or any program with runc's command line.  The same verbs, the same errors.

    runtime = open_runtime(path, root)     "" is pyoci; root: the runtime's --root
    runtime.create(id, bundle, console_socket) ... start, state, kill, delete, exec, pause, resume, update, ps, stats

Raises RuntimeFailed (text, and docker's exit status 126, 127 or 125) where the runtime refuses.  Source: runc(8); docker-run(1), exit status.
"""

import contextlib

from pyoci.errors import PyociError
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images.rootless import in_user_namespace

_MISSING = ("executable file not found", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "not a directory", "is a directory", "exec format error", "open executable")  # the last: crun


class RuntimeFailed(MiniDockerError):
    """The runtime said no.  `exit_status`: 127 where the program to run is missing, 126 where it can't be executed, else 125."""

    def __init__(self, text, hint=""):
        super().__init__(text, hint)
        self.exit_status = status_for(text)


def status_for(text):
    """docker's exit status for what a runtime said of a program that it could not start."""
    lowered = text.lower()
    if any(words in lowered for words in _MISSING):
        return 127
    return 126 if any(words in lowered for words in _NOT_EXECUTABLE) else 125


def _is_folder(path):
    import os

    return os.path.isdir(path)


def systemd_bus():
    """The environment by which a user's systemd is reached, where that makes the containers' cgroups; {} for root, and where there is none."""
    if not in_user_namespace():
        return {}
    from pyoci.minidocker.confined import systemd_environment  # never for root

    return systemd_environment()


def open_runtime(path, root, warn=None):
    """The runtime of a path; "" and "pyoci" mean this process."""
    return Pyoci(root, warn) if path in ("", "pyoci") else Program(path, root)


def check_runtime(path):
    """A runtime as a container's record names it: from any folder.  Raises MiniDockerError where there is no such program."""
    from pyoci.minidocker.paths import absolute

    if path in ("", "pyoci"):
        return path
    program_of(path)
    return absolute(path) if "/" in path else path


def program_of(path):
    """The program of a path or a name on PATH.  Raises MiniDockerError where there is none."""
    import os
    import shutil

    found = shutil.which(path)
    if not found:
        raise MiniDockerError(f"runtime {path}: no such program", hint="--runtime takes a path or a name on PATH")
    return os.path.realpath(found)


class Pyoci:
    """pyoci.api, in this process."""

    name = "pyoci"

    def __init__(self, root, warn=None):
        from pyoci.api import Runtime

        self._root = root
        self._api = Runtime(root, warn=warn)

    def _call(self, verb, *words, **more):
        try:
            return verb(*words, **more)
        except PyociError as error:
            raise RuntimeFailed(str(error)) from error

    def create(self, container_id, bundle, console_socket=""):
        """Create; the container gets this process's 0, 1, 2, or sends its terminal to the socket.  Returns the pid."""
        bus = systemd_bus()
        self._api.systemd_cgroup = bool(bus)
        self._call(self._api.create, container_id, bundle, console_socket=console_socket, environ=bus)
        return self._call(self._api.state, container_id)["pid"]

    def pid(self, container_id):
        """The pid of its first process, 0 when that has ended."""
        return self._call(self._api.state, container_id)["pid"]

    def start(self, container_id):
        """Let it begin."""
        self._call(self._api.start, container_id)

    def exec(self, container_id, process, *, detach=False, console_socket="", pid_file=""):
        """Run a further process with this process's 0, 1, 2.  Returns its exit status; 0 at once when detached."""
        options = {"detach": detach, "console_socket": console_socket, "pid_file": pid_file}
        return self._call(self._api.exec, container_id, process, **options)

    def kill(self, container_id, number):
        """Signal the first process."""
        self._call(self._api.kill, container_id, number)

    def delete(self, container_id):
        """Remove whatever there is of it."""
        self._call(self._api.delete, container_id, force=True)

    def pause(self, container_id):
        """Freeze."""
        self._call(self._api.pause, container_id)

    def resume(self, container_id):
        """Thaw."""
        self._call(self._api.resume, container_id)

    def update(self, container_id, resources):
        """Change limits: `linux.resources`."""
        self._call(self._api.update, container_id, resources)

    def ps(self, container_id):
        """Pids."""
        return self._call(self._api.ps, container_id)

    def stats(self, container_id):
        """The data of a stats event."""
        return self._call(self._api.stats, container_id)

    def load(self, *verbs):
        """Make ready for verbs that will be called soon."""
        self._api.load(*verbs)

    def has(self, container_id):
        """Whether it has anything of that id."""
        return _is_folder(f"{self._root}/{container_id}")


class Program:
    """A program that takes runc's command line.  It is looked for when it is called: what does not run can be seen and removed after the program is gone."""

    def __init__(self, path, root):
        import os

        self.name = os.path.basename(path)
        self._path = path
        self._root = f"{root}.{self.name}"

    def _run(self, *words, **more):
        import json
        import subprocess
        import tempfile

        with tempfile.NamedTemporaryFile() as log:
            command = [program_of(self._path), "--root", self._root, "--log", log.name, "--log-format", "json", *words]
            given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **more}
            done = subprocess.run(command, check=False, restore_signals=True, **given)
            if done.returncode and not more.get("is_process"):
                errors = []
                for line in log.read().splitlines():
                    try:
                        record = json.loads(line)
                    except ValueError:
                        continue
                    if record.get("level") in ("error", "fatal"):
                        errors.append(record.get("msg", ""))
                if errors:
                    raise RuntimeFailed(errors[-1].strip().replace("\n", " "))
        return done

    @contextlib.contextmanager
    def _same_null(self):
        """crun (before 1.9 at least) gives a user's process its streams, and with them the host's /dev/null: it gets its owner back."""
        import os

        before = os.stat(os.devnull)
        try:
            yield
        finally:
            after = os.stat(os.devnull)
            if (after.st_uid, after.st_gid) != (before.st_uid, before.st_gid):
                os.chown(os.devnull, before.st_uid, before.st_gid)

    def _ok(self, *words, **more):
        done = self._run(*words, **more)
        if done.returncode:
            raise RuntimeFailed(f"{self.name} {words[0]}: ended with status {done.returncode}")
        return done

    def create(self, container_id, bundle, console_socket=""):
        import os

        pid_file = f"{bundle}/pid"
        flags = ["--console-socket", console_socket] if console_socket else []
        driver = ["--systemd-cgroup"] if systemd_bus() else []
        with self._same_null():
            self._ok(*driver, "create", "--bundle", bundle, "--pid-file", pid_file, *flags, container_id, stdin=0, stdout=1, stderr=2)
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        os.unlink(pid_file)
        return pid

    def pid(self, container_id):
        return self._json("state", container_id)["pid"]

    def start(self, container_id):
        with self._same_null():
            self._ok("start", container_id)

    def exec(self, container_id, process, *, detach=False, console_socket="", pid_file=""):
        import json
        import tempfile

        flags = ["--detach"] if detach else []
        flags += ["--console-socket", console_socket] if console_socket else []
        flags += ["--pid-file", pid_file] if pid_file else []
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump(process, file)
            file.flush()
            if not detach and not process["terminal"]:
                return self._exec_attended(container_id, file.name)
            return self._exec(container_id, file.name, flags)

    def _exec_attended(self, container_id, file):
        """Start it detached, and be what waits for it: runc itself stays until nobody holds the output any more, and passes on no signal of ours."""
        import _signal
        import tempfile

        from pyoci.kernel import calls
        from pyoci.minidocker.attach import attend

        signals = calls.Signals()
        was = calls.subreaper(1)
        try:
            with tempfile.TemporaryDirectory() as folder:
                unblock = {"preexec_fn": lambda: _signal.pthread_sigmask(_signal.SIG_SETMASK, ())}
                status = self._exec(container_id, file, ["--detach", "--pid-file", f"{folder}/pid"], **unblock)
                if status:
                    return status if status > 0 else 128 - status
                with open(f"{folder}/pid", encoding="ascii") as pid:
                    return attend(calls.pidfd_open(int(pid.read())), signals)
        finally:
            calls.subreaper(was)
            signals.close()

    def _exec(self, container_id, file, flags, **more):
        with self._same_null():
            return self._run("exec", "--process", file, *flags, container_id, stdin=0, stdout=1, stderr=2, **more).returncode

    def kill(self, container_id, number):
        self._ok("kill", container_id, str(number))

    def delete(self, container_id):
        self._ok("delete", "--force", container_id)

    def pause(self, container_id):
        self._ok("pause", container_id)

    def resume(self, container_id):
        self._ok("resume", container_id)

    def update(self, container_id, resources):
        import json
        import tempfile

        with tempfile.TemporaryFile("w+") as file:
            json.dump(resources, file)
            file.seek(0)
            self._ok("update", "--resources", "-", container_id, stdin=file)

    def _json(self, *words):
        import json
        import subprocess

        return json.loads(self._ok(*words, stdout=subprocess.PIPE).stdout or b"null")

    def ps(self, container_id):
        return self._json("ps", "--format", "json", container_id) or []

    def stats(self, container_id):
        try:
            return self._json("events", "--stats", container_id)["data"]
        except RuntimeFailed:
            from pyoci.minidocker.cgroup_stats import read  # a runtime without that command, such as crun

            return read(container_id, self.ps(container_id))

    def load(self, *verbs):
        """A program loads itself."""

    def has(self, container_id):
        return _is_folder(f"{self._root}/{container_id}")
