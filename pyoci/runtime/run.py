"""run: create, start, and in the foreground wait and delete."""

import posix

from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.runtime.create import create
from pyoci.runtime.delete import delete
from pyoci.runtime.foreground import wait
from pyoci.runtime.start import start


def run(root, container_id, bundle, options, warn, *, keep, no_subreaper):
    """The exit status of the process; 0 at once when detached.  A container that fails to start is deleted."""

    def begin(signals):
        return create(root, container_id, bundle, options, warn, signals)

    def go_on(container, signals):
        start(container, warn, options.environ.get("NOTIFY_SOCKET", ""), signals, is_new=True)

    return in_foreground(root, container_id, begin, warn, go_on, detach=options.detach, keep=keep, no_subreaper=no_subreaper)


def in_foreground(root, container_id, begin, warn, go_on=None, *, detach, keep, no_subreaper):
    """Make a container, and unless `detach` wait for its end and delete it.  Returns its exit status.

    begin    callable(calls.Signals or None) -> (Container, Launch), the container locked
    go_on    callable(Container, calls.Signals or None), where there is something to do while it is locked
    """
    signals = None if detach else calls.Signals()
    was_subreaper = None
    try:
        if signals and not no_subreaper:
            was_subreaper = calls.subreaper(1)
        container, launch = begin(signals)
        try:
            try:
                if go_on:
                    go_on(container, signals)
            finally:
                container.unlock()
            if not signals:
                return 0
            console, launch.console = launch.console, -1
            status = wait(launch.pidfd, console, signals, was_subreaper is not None)
        except BaseException as error:
            _give_up(root, launch, container_id, warn, error)
            raise
        finally:
            launch.close()
        if not keep:
            delete(root, container_id, True, warn)
        return status
    finally:
        if was_subreaper == 0:
            calls.subreaper(0)
        if signals:
            signals.close()


def _give_up(root, launch, container_id, warn, error):
    try:
        delete(root, container_id, True, warn)
    except PyociError as left:
        error.add_note(str(left))
    if launch.pidfd >= 0:
        try:
            posix.waitid(posix.P_PIDFD, launch.pidfd, posix.WEXITED)
        except ChildProcessError:
            pass
