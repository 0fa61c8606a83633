"""The engine: what the command line and the Engine API call.  Each method imports what it needs, so that a command pays for its own alone.

`ref` is a name, a full id or a unique prefix.  Raises the tree of pyoci.minidocker.errors; `exit_status` of an error is docker's (125, 126, 127).
"""

from pyoci.minidocker.store import open_store


def _no_warning(text):
    """Where the caller wants none."""


class Engine:
    """MiniDocker's roots with their store.  runtime: "" for pyoci in this process, or the path of another, for containers that are created."""

    def __init__(self, roots=None, runtime="", warn=None):
        self.store = open_store(roots)
        self.runtime = runtime
        self.warn = warn or _no_warning

    # --- life

    def create(self, body, name="", *, pull="missing", platform="", progress=None, starts=False):
        """Create a container from a request.  Returns create.Created (id, warnings, hold).  starts: the caller will start it; no prune comes between."""
        from pyoci.minidocker.create import create

        return create(self.store, body, name, runtime=self.runtime, pull=pull, platform=platform, progress=progress, starts=starts)

    def start(self, ref):
        """Start in the background.  Returns False where it runs already."""
        from pyoci.minidocker.life import start

        return start(self.store, ref, self.warn)

    def run_attached(self, ref, *, detach_keys="", sig_proxy=True, wants=None):
        """Start, and stay until the end.  Returns the exit status, or DETACHED (attach.py)."""
        from pyoci.minidocker.life import run_attached

        return run_attached(self.store, ref, detach_keys=detach_keys, sig_proxy=sig_proxy, warn=self.warn, wants=wants)

    def attach(self, ref, *, stdin=True, detach_keys="", sig_proxy=True):
        """Stay with a running container.  Returns the exit status, or DETACHED."""
        from pyoci.minidocker.life import attach_to

        return attach_to(self.store, ref, stdin=stdin, detach_keys=detach_keys, sig_proxy=sig_proxy)

    def wait(self, ref, condition="not-running"):
        """Wait until it stops.  Returns the exit status."""
        from pyoci.minidocker.life import wait

        return wait(self.store, ref, condition)

    def stop(self, ref, timeout_s=None, signal=None):
        """Ask it to end, then kill it."""
        from pyoci.minidocker.life import stop

        stop(self.store, ref, timeout_s, signal)

    def kill(self, ref, signal="KILL"):
        """Send a signal."""
        from pyoci.minidocker.life import kill

        kill(self.store, ref, signal)

    def restart(self, ref, timeout_s=None, signal=None):
        """Stop and start."""
        from pyoci.minidocker.life import restart

        restart(self.store, ref, timeout_s, signal, self.warn)

    def pause(self, ref):
        """Freeze."""
        from pyoci.minidocker.life import pause

        pause(self.store, ref)

    def unpause(self, ref):
        """Thaw."""
        from pyoci.minidocker.life import unpause

        unpause(self.store, ref)

    def remove(self, ref, *, force=False, volumes=False):
        """Remove.  volumes: what is anonymous lies in the container's layer, and goes with it either way."""
        from pyoci.minidocker.life import remove

        remove(self.store, ref, force=force)

    def rename(self, ref, name):
        """Give it another name."""
        from pyoci.minidocker.life import rename

        rename(self.store, ref, name)

    def exec(self, ref, given, *, detach=False):
        """Run a further process with our streams.  given: Engine API ExecCreate body.  Returns its exit status, 0 when detached."""
        from pyoci.minidocker.execute import execute

        return execute(self.store, ref, given, detach=detach, warn=self.warn)

    def update(self, ref, changes):
        """Change limits and the restart policy.  Returns warnings."""
        from pyoci.minidocker.update import update

        return update(self.store, ref, changes)

    # --- looking

    def list(self, all=False, filters=None, size=False, limit=None):  # noqa: A002 - the API's word
        """[summary], Engine API ContainerList."""
        from pyoci.minidocker.show import summaries

        return summaries(self.store, everything=all, filters=filters, size=size, limit=limit)

    def inspect(self, ref, size=False):
        """A container, Engine API ContainerInspect."""
        from pyoci.minidocker.show import inspect

        return inspect(self.store, ref, size)

    def logs(self, ref, *, follow=False, tail=-1, since_ns=0, until_ns=0):
        """An iterator of (stream, time, bytes)."""
        from pyoci.minidocker.logs import logs

        return logs(self.store, ref, follow=follow, tail=tail, since_ns=since_ns, until_ns=until_ns)

    def top(self, ref, ps_args=()):
        """{"Titles", "Processes"}."""
        from pyoci.minidocker.stats import top

        return top(self.store, ref, ps_args)

    def stats(self, ref, stream=False):
        """A sample as it is now, Engine API ContainerStats; with `stream` an iterator of one a second."""
        from pyoci.minidocker.stats import now, stats

        return stats(self.store, ref) if stream else now(self.store, ref)

    def events(self, since_ns=0, until_ns=0, filters=None, follow=True):
        """An iterator of events, Engine API SystemEvents."""
        from pyoci.minidocker.events import events

        return events(self.store, since_ns, until_ns, filters, follow)

    # --- files

    def copy_out(self, ref, path, target, *, follow_links=False, keep_ids=False):
        """Copy to the host's `target`; "-" is a tar on standard output."""
        from pyoci.minidocker.copy import to_host

        to_host(self.store, ref, path, target, follow_links=follow_links, keep_ids=keep_ids, warn=self.warn)

    def copy_in(self, ref, source, path, *, follow_links=False, keep_ids=False):
        """Copy the host's `source` in; "-" is a tar on standard input."""
        from pyoci.minidocker.copy import from_host

        from_host(self.store, ref, source, path, follow_links=follow_links, keep_ids=keep_ids)

    def archive_out(self, ref, path, sink):
        """Write a tar of what is at path to `sink`.  Returns what path_stat does.  Engine API ContainerArchive"""
        from pyoci.minidocker.copy import copy_out

        return copy_out(self.store, ref, path, sink)

    def archive_in(self, ref, path, stream):
        """Unpack a tar into the folder at path.  Engine API PutContainerArchive"""
        from pyoci.minidocker.copy import copy_in

        copy_in(self.store, ref, path, stream)

    def path_stat(self, ref, path):
        """{name, size, mode (Go's), mtime, linkTarget} of a path in a container.  Raises NotFound."""
        from pyoci.minidocker.copy import path_stat

        return path_stat(self.store, ref, path)

    def changes(self, ref):
        """[(kind, path)]: A, C or D."""
        from pyoci.minidocker.derive import changes

        return changes(self.store, ref)

    def export(self, ref, file):
        """Write the container's file system as a tar."""
        from pyoci.minidocker.derive import export

        export(self.store, ref, file)

    def commit(self, ref, reference="", *, author="", message="", changes=(), pause=None):
        """Make an image of a container, frozen meanwhile; pause None: if it can be.  Returns its id."""
        from pyoci.minidocker.derive import commit

        return commit(self.store, ref, reference, author=author, message=message, changes=changes, pause=pause, warn=self.warn)

    # --- the whole

    def prune_containers(self, filters=None):
        """Remove every container that does not run.  Returns (ids, bytes)."""
        from pyoci.minidocker.system import prune

        return prune(self.store, filters, self.warn)

    def system_df(self):
        """Engine API SystemDataUsage."""
        from pyoci.minidocker.system import disk_usage

        return disk_usage(self.store)

    def info(self):
        """Engine API SystemInfo."""
        from pyoci.minidocker.system import info

        return info(self.store, self.runtime)

    def version(self):
        """Engine API SystemVersion."""
        from pyoci.minidocker.system import version

        return version()

    def check(self, heal=False, deep=False):
        """[problem], each a line."""
        from pyoci.minidocker.check import check

        return check(self.store, heal, deep)

    def system_start(self):
        """After the host has started: what restart policies keep running.  Returns ids."""
        from pyoci.minidocker.system import start_all

        return start_all(self.store, self.warn)

    def plan_create(self, body, name=""):
        """What create would do, as text."""
        from pyoci.minidocker.plan import plan_create

        return plan_create(self.store, body, name)

    def plan_run(self, body, name=""):
        """What run would do, down to the runtime's operations, as text."""
        from pyoci.minidocker.plan import plan_run

        return plan_run(self.store, body, name)

    def plan_remove(self, ref, *, force=False):
        """What rm would do, as text."""
        from pyoci.minidocker.plan import plan_remove

        return plan_remove(self.store, ref, force)

    def close(self):
        """Close the store."""
        self.store.close()
