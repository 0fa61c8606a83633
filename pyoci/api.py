"""The border: what programs, MiniDocker and the command line call.  Each method imports its verb when it is called.

Every method raises the tree of pyoci.errors and nothing else by intent.  Nothing here changes the process's directory,
umask, environment or signal handlers; `run` and a foreground `exec` block this thread's signals while they wait.
"""


def _no_warning(text):
    """Where the caller wants none."""


class Runtime:
    """One runtime: a root directory with its containers.

    root      absolute path of the state directory's root
    warn      callable(str) for what is left out and went on, or None
    rootless  whether a container does without cgroups where they can't be made; None: whoever is not the host's root
    systemd_cgroup   create has systemd make the cgroups; the other verbs know it from the container
    """

    __slots__ = ("root", "warn", "systemd_cgroup", "rootless")

    def __init__(self, root="/run/pyoci", *, systemd_cgroup=False, rootless=None, warn=None):
        self.root = root.rstrip("/") or "/"
        self.warn = warn or _no_warning
        self.systemd_cgroup = systemd_cgroup
        self.rootless = rootless

    @staticmethod
    def load(*verbs):
        """Import what these verbs (names of modules in runtime/) will need, while the caller has nothing better to do."""
        for verb in verbs:
            __import__(f"pyoci.runtime.{verb}")

    def create(self, container_id, bundle, **options):
        """Create a container whose process waits for start.  Options: see runtime.create.Options.  runtime.md#create"""
        from pyoci.runtime.create import Options, create

        given = Options(systemd_cgroup=self.systemd_cgroup, rootless=self.rootless, **options)
        container, launch = create(self.root, container_id, bundle, given, self.warn)
        container.unlock()
        launch.close()

    def start(self, container_id, *, environ=None):
        """Let the process of a created container begin.  `environ`: the caller's, for NOTIFY_SOCKET.  runtime.md#start"""
        from pyoci.runtime.start import start
        from pyoci.state.store import Container

        container = Container(self.root, container_id)
        container.lock()
        try:
            start(container, self.warn, (environ or {}).get("NOTIFY_SOCKET", ""))
        finally:
            container.unlock()

    def run(self, container_id, bundle, *, detach=False, keep=False, no_subreaper=True, **options):
        """create and start; then, unless `detach`, wait and delete.  Returns the exit status (128 + n for signal n).

        Without `no_subreaper` what the container orphans comes to this process, and every child that ends meanwhile is
        reaped: for the command line, which has no others.  PR_SET_CHILD_SUBREAPER(2const)
        """
        from pyoci.runtime.create import Options
        from pyoci.runtime.run import run

        given = Options(detach=detach, starts=True, systemd_cgroup=self.systemd_cgroup, rootless=self.rootless, **options)
        return run(self.root, container_id, bundle, given, self.warn, keep=keep, no_subreaper=no_subreaper)

    def exec(self, container_id, process, **options):
        """Run a further process in a container.  `process`: config.md#process.  Returns its exit status, 0 when detached."""
        from pyoci.runtime.exec import Options, execute

        return execute(self.root, container_id, process, Options(**options), self.warn)

    def exec_process(self, container_id):
        """The container's own process object, as it was at create: the defaults of exec's flags."""
        from pyoci.state.store import Container

        container = Container(self.root, container_id)
        container.record  # noqa: B018 - NoSuchContainer comes from here
        return container.config().get("process") or {}

    def checkpoint(self, container_id, image_path, work_path="", **options):
        """Have criu write a running container to image_path; then it is deleted, unless leave_running or pre_dump.

        Options: see runtime.checkpoint.DumpOptions.  criu(8)
        """
        from pyoci.runtime.checkpoint import DumpOptions, checkpoint

        checkpoint(self.root, container_id, DumpOptions(image_path, work_path, **options), self.warn)

    def restore(self, container_id, bundle, image_path, work_path="", *, detach=False, no_subreaper=True, console_socket=None,
                pid_file=None, no_pivot=False, environ=None, **options):  # fmt: skip
        """Restore a container from image_path; then, unless `detach`, wait and delete.  Returns the exit status as run does.

        Options: see runtime.checkpoint.RestoreOptions.  criu(8)
        """
        from pyoci.runtime.checkpoint import RestoreOptions
        from pyoci.runtime.create import Options
        from pyoci.runtime.restore import restore_and_wait

        bus = {name: text for name, text in (environ or {}).items() if name.startswith(("DBUS_", "XDG_RUNTIME_"))}
        given = Options(console_socket=console_socket, pid_file=pid_file, no_pivot=no_pivot, detach=detach, environ=bus,
                        systemd_cgroup=self.systemd_cgroup)  # fmt: skip
        images = RestoreOptions(image_path, work_path, environ=environ, **options)
        return restore_and_wait(self.root, container_id, bundle, images, given, self.warn, no_subreaper=no_subreaper)

    def kill(self, container_id, signal_number, *, all_processes=False):
        """Send a signal to the first process, or to all.  runtime.md#kill"""
        from pyoci.runtime.kill import kill

        kill(self.root, container_id, signal_number, all_processes)

    def delete(self, container_id, *, force=False):
        """Delete a stopped or created container, with `force` any.  runtime.md#delete"""
        from pyoci.runtime.delete import delete

        delete(self.root, container_id, force, self.warn)

    def state(self, container_id):
        """The state document.  runtime.md#state"""
        from pyoci.runtime.inspect import state

        return state(self.root, container_id)

    def list(self):
        """The state documents of all containers."""
        from pyoci.runtime.inspect import list_all

        return list_all(self.root, self.warn)

    def ps(self, container_id):
        """The pids of the container's processes."""
        from pyoci.runtime.inspect import processes

        return processes(self.root, container_id)

    def pause(self, container_id):
        """Freeze all processes."""
        from pyoci.runtime.freeze import pause

        pause(self.root, container_id)

    def resume(self, container_id):
        """Thaw them."""
        from pyoci.runtime.freeze import resume

        resume(self.root, container_id)

    def update(self, container_id, resources):
        """Change the limits of a container: `linux.resources`, what is absent stays.  config-linux.md#control-groups"""
        from pyoci.runtime.update import update

        update(self.root, container_id, resources, self.warn)

    def stats(self, container_id):
        """The `data` of a stats event."""
        from pyoci.runtime.events import stats

        return stats(self.root, container_id)

    def events(self, container_id, interval_s=5.0):
        """An iterator of events, stats every interval_s and oom as they happen, until the cgroup is gone."""
        from pyoci.runtime.events import events

        return events(self.root, container_id, interval_s)

    def features(self):
        """What this runtime and this host can do.  features.md"""
        from pyoci.runtime.features import features

        return features()

    def spec(self, rootless=False):
        """A config.json to begin with."""
        from pyoci.runtime.features import spec

        return spec(rootless)

    def plan(self, bundle, container_id="container", **options):
        """The Plan that create would carry out, and nothing done."""
        from pyoci.runtime.create import Options, make_plan, read_bundle, real_bundle

        options.setdefault("detach", False)
        bundle = real_bundle(bundle)
        _, config = read_bundle(bundle)
        return make_plan(self.root, container_id, bundle, config, Options(systemd_cgroup=self.systemd_cgroup, rootless=self.rootless, **options), self.warn)[0]
