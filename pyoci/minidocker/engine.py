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

    def create(self, body, name="", *, pull="missing", platform="", progress=None):
        """Create a container from a request.  Returns create.Created (id, warnings)."""
        from pyoci.minidocker.create import create

        return create(self.store, body, name, runtime=self.runtime, pull=pull, platform=platform, progress=progress)

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

    # --- the monitor's deeds, for whoever starts them by the command line

    def settle_after_exit(self, container_id):
        """Settle a container that has ended.  Returns what the monitor is to do next, as text."""
        from pyoci.minidocker.settle import settle_after_exit

        return settle_after_exit(self.store, container_id)

    def close(self):
        """Close the store."""
        self.store.close()
