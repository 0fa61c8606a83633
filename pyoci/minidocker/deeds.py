"""What a monitor starts: `python deeds.py NAME ID`.  Prints what the monitor is to start next, `NAME MILLISECONDS`, or nothing.

    exited    the container has ended, and nobody in the foreground settles it
    adopt     who started the container was killed before it could be recorded
    restart   the back-off of a restart policy is over
    health    a health check is due
    exec-ID   somebody wants a further process that goes on without him

Errors go to the file `errors` of the container's live folder: the monitor gives it as standard error.  Not for people.
"""

import os
import sys


def _find_package():
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:1] = [tree]  # instead of this folder, whose modules are the package's
    from pyoci import hot

    sys.path[:1] = []
    sys.path += [tree, sys._xoptions.get("pyoci_site", tree)]
    hot.install("minidocker")


def main(name, container_id):
    """Do a deed.  Returns what the monitor reads."""
    from pyoci.minidocker.store import open_store

    store = open_store()
    if name == "exited":
        from pyoci.minidocker.settle import settle_after_exit

        return settle_after_exit(store, container_id)
    if name == "adopt":
        from pyoci.minidocker.settle import adopt_running

        return adopt_running(store, container_id)
    if name == "restart":
        from pyoci.minidocker.life import restart_by_policy

        return restart_by_policy(store, container_id)
    if name == "health":
        from pyoci.minidocker.probe import probe

        return probe(store, container_id)
    if name.startswith("exec-"):
        from pyoci.minidocker.execute import carry_out_detached

        # The monitor gave it a standard error of its own; the process is to have nobody's.
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, 2)
        return carry_out_detached(store, container_id, name)
    raise SystemExit(f"unknown deed {name}")


if __name__ == "__main__":
    _find_package()
    from pyoci.errors import PyociError

    try:
        answer = main(*sys.argv[1:])
    except PyociError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    sys.stdout.write(answer)
    sys.stdout.flush()
    os._exit(0)
