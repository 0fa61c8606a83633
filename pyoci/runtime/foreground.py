"""A process in the foreground: its signals forwarded, its terminal shown, its end awaited.  For run and exec."""

import posix

from pyoci.kernel import calls

SIGPIPE, SIGCHLD, SIGURG, SIGXFSZ, SIGWINCH = 13, 17, 23, 25, 28
# Not the container's: SIGPIPE and SIGXFSZ come of what this process itself writes, and a blocked signal is pending though it is ignored.
_KEPT = (SIGPIPE, SIGCHLD, SIGURG, SIGXFSZ)


def wait(pidfd, console, signals, reaping):
    """Wait for the process and return its exit status, 128 + n for signal n.

    console   the terminal's master, owned from here on, or -1
    signals   calls.Signals, opened before the process began so that none is lost
    reaping   reap what is orphaned to this process
    """
    pump = None
    if console >= 0:
        from pyoci.launch.console import Pump  # only for a terminal

        pump = Pump(console)
    try:
        _follow(pidfd, pump, signals, reaping)
        if pump:
            pump.drain()
    finally:
        if pump:
            pump.close()
    return exit_status(pidfd)


def _follow(pidfd, pump, signals, reaping):
    pumping = pump is not None
    while True:
        wanted = [(pidfd, calls.POLLIN), (signals.fd, calls.POLLIN)]
        if pumping:
            wanted += pump.wanted()
        ready = calls.poll(wanted)
        if signals.fd in ready:
            forward(pidfd, pump, signals, reaping)
        if pumping and not pump.serve(ready):
            pumping = False
        if pidfd in ready:
            return


def forward(pidfd, pump, signals, reaping):
    """Pass on what has come, but for what is our own business."""
    for number in signals.take():
        if number == SIGCHLD and reaping:
            _reap_others(pidfd)
        if number == SIGWINCH and pump:
            pump.resize()
        elif number not in _KEPT:
            try:
                calls.pidfd_send_signal(pidfd, number)
            except calls.SyscallError:
                pass


def _reap_others(pidfd):
    """Zombies that are not the process itself, whose status is still wanted."""
    while True:
        try:
            ended = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or calls.poll([(pidfd, calls.POLLIN)], 0):
            return
        posix.waitid(posix.P_PID, ended.si_pid, posix.WEXITED | posix.WNOHANG)


def exit_status(pidfd):
    """The status as a shell would give it."""
    try:
        info = posix.waitid(posix.P_PIDFD, pidfd, posix.WEXITED)
    except ChildProcessError:
        return 255
    return info.si_status if info.si_code == posix.CLD_EXITED else 128 + info.si_status
