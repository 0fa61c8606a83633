"""Carries out a list of operations: HOST's here, INIT's by the static init, the baton going back and forth.

HOST runs up to the first INIT operation, hands over (RUN), does what is overlapped meanwhile (DONE), and waits for the
baton (TURN), a warning, a new pid (CHILD) or a failure (FAIL).  When the channel ends with no word, the running word says
where INIT was.  Knows no config.  pyoci/plan/wire.py has the messages.
"""

import posix
from fcntl import F_ADD_SEALS, fcntl

from pyoci.errors import BusError, PyociError, SyscallError
from pyoci.kernel import calls
from pyoci.kernel.proc import read_file, start_time
from pyoci.launch.host import DEEDS
from pyoci.plan import wire
from pyoci.plan.ops import HOST, TABLE
from pyoci.state.journal import note

SLOT_PLAN = 0
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_EXEC = 1, 2, 16
SEALS = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE
EINVAL, EACCES = 22, 13

_init_bytes = b""


def init_bytes():
    """The static init that came with this package.  Raises PyociError where it was not built."""
    global _init_bytes
    if not _init_bytes:
        path = __file__.rpartition("/launch/")[0] + "/native/init/pyoci-init"
        try:
            _init_bytes = read_file(path)
        except SyscallError as error:
            raise PyociError(f"this installation is incomplete: {error}; install the package again") from None
    return _init_bytes


def sealed_init():
    """A descriptor of a sealed copy of init: what a container sees as /proc/PID/exe is nobody's file (CVE-2019-5736)."""
    program = init_bytes()
    try:
        try:
            fd = posix.memfd_create("pyoci-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC)
        except OSError as error:
            if error.errno != EINVAL:  # a kernel before 6.3 knows no MFD_EXEC, and needs none
                raise
            fd = posix.memfd_create("pyoci-init", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    except OSError as error:
        hint = "; vm.memfd_noexec forbids it" if error.errno == EACCES else ""
        raise PyociError(f"memfd_create for init: {SyscallError('memfd_create', error.errno)}{hint}") from None
    posix.write(fd, program)
    fcntl(fd, F_ADD_SEALS, SEALS)
    return fd


def wait_or_end(fd, signals):
    """Wait until there is something to read.  Raises PyociError for a signal that asks us to end: a hook in there may take for ever."""
    while fd not in (ready := calls.poll([(fd, calls.POLLIN), (signals.fd, calls.POLLIN)])):
        if signals.fd in ready and (number := signals.ending()):
            raise PyociError(f"ended by signal {number}")


class Launch:
    """One list being carried out; what its HOST operations share.

    container    state.store.Container, or None for an exec
    ops          list of plan.Op
    fds          {slot: descriptor} that HOST holds
    outbox       slots that go along with the next RUN
    pid, pidfd   init, once it is spawned; `started` its start time
    directories  {controller: directory} of the cgroups
    is_placed    init was born in its cgroup of version 2
    scope        [path of the bus, unit] where systemd made them, or None
    tell         called with this at `record`: stores what must be known later
    signals      calls.Signals of a run in the foreground, or None: those that ask us to end end it up to the gate
    opened       called, where it is given, once all is open that init is to join
    state        called with (status, pid): the state document that a hook reads
    console      the terminal's master where the caller keeps it, or -1
    criu         launch.criu.Criu of a restore, or None; `environ` is what it is run with
    warn         callable(str)
    """

    __slots__ = ("container", "ops", "fds", "outbox", "pid", "pidfd", "started", "channel", "journal", "word_fd", "directories",
                 "tell", "warn", "index", "state", "console", "scope", "is_placed", "criu", "environ", "opened", "signals")  # fmt: skip

    def __init__(self, ops, container=None, *, tell=None, warn=None, state=None, opened=None, signals=None):
        self.container = container
        self.ops = ops
        self.fds = {}
        self.outbox = []
        self.pid = self.started = 0
        self.pidfd = self.channel = self.journal = self.word_fd = -1
        self.directories = {}
        self.tell = tell
        self.warn = warn
        self.index = 0
        self.state = state
        self.opened = opened
        self.signals = signals
        self.console = -1
        self.scope = None
        self.is_placed = False
        self.criu = None
        self.environ = None

    def note_all(self, lines):
        """The same for several lines at once."""
        if self.journal >= 0 and lines:
            note(self.journal, *lines)

    def note(self, *fields):
        """Write down in the journal what is about to be done; an exec has none."""
        if self.journal >= 0:
            note(self.journal, fields)

    def carry_out(self, end=None):
        """Run the list up to its `end` operation (the gate), or until init becomes the process.  Raises OperationFailed."""
        ops = self.ops
        count = len(ops)
        while self.index < count:
            overlapped = self._host_run(count)
            if self.index == end:
                return self._release(overlapped)
            if self.index == count:
                return None
            self._send(wire.RUN, self.index)
            for index in overlapped:
                self._deed(index)
                self._send(wire.DONE, index)
            if not self._await_turn():
                return None
        return None

    def _host_run(self, count):
        """Do the HOST operations from here to the next INIT one; returns those that overlap."""
        overlapped = []
        while self.index < count and TABLE[self.ops[self.index].number][1] == HOST:
            if self.ops[self.index].overlapped:
                overlapped.append(self.index)
            else:
                self._deed(self.index)
            self.index += 1
        return overlapped

    def _release(self, overlapped):
        """Send INIT to its gate; from here on it needs nobody."""
        self._send(wire.RUN, self.index)
        for index in overlapped:
            self._deed(index)
        self.note("complete")
        posix.close(self.channel)
        self.channel = -1

    def _deed(self, index):
        op = self.ops[index]
        try:
            if self.word_fd >= 0:
                posix.pwrite(self.word_fd, index.to_bytes(4, "little"), 0)
            DEEDS[op.number](self, *op.args)
        except (SyscallError, BusError, OSError) as error:
            from pyoci.launch.explain import host_failure  # cold

            raise host_failure(op, error) from error

    def _send(self, kind, index):
        slots, self.outbox = self.outbox, []
        fds = [self.fds.pop(slot) for slot in slots]
        try:
            calls.send(self.channel, wire.message(kind, index, slots), fds)
        except SyscallError:
            self._await_turn()  # it is gone: its last word says why
            raise self._silent_end() from None
        finally:
            for fd in fds:
                posix.close(fd)

    def _await_turn(self):
        """Wait for the baton.  False when init became the process (the channel ended with nothing wrong)."""
        while True:
            if self.signals:
                wait_or_end(self.channel, self.signals)
            data, fds = calls.receive(self.channel)
            if not data:
                return self._ended()
            message = wire.Message(data)
            for slot, fd in zip(message.slots, fds):
                self.fds[slot] = fd
            if message.type == wire.TURN:
                self.index = message.index
                return True
            self._other(message)

    def _other(self, message):
        from pyoci.launch import explain  # cold

        if message.type == wire.CHILD:
            self._adopt(message)
        elif message.type == wire.WARN and self.warn:
            self.warn(explain.warning(self.ops[message.index], message))
        elif message.type == wire.FAIL:
            self._reap()
            raise explain.init_failure(self.ops[message.index], message)

    def _adopt(self, message):
        """Init goes on as another process, our child; the one before it is done."""
        self._reap()
        posix.close(self.pidfd)
        self.pid, self.pidfd = message.item, self.fds.pop(SLOT_PLAN)
        self.begin()

    def begin(self):
        """Note init's identity, so that an undo can tell it from a stranger with its pid."""
        self.started = start_time(self.pid)
        self.note("process", str(self.pid), str(self.started))

    def _ended(self):
        """The channel is closed: by execve, if init was at its last operation, for every failure there is told first."""
        last = len(self.ops) - 1
        if self._word() == last and TABLE[self.ops[last].number][0] == "execute":
            return False
        raise self._silent_end()

    def _word(self):
        return int.from_bytes(posix.pread(self.word_fd, 4, 4), "little") if self.word_fd >= 0 else 0

    def _silent_end(self):
        from pyoci.launch import explain  # cold

        status = self._reap()
        return explain.silent_death(self.ops[min(self._word(), len(self.ops) - 1)], status, self.directories)

    def _reap(self):
        """Wait for init, which is dead or about to be, and give its waitid result; None if somebody else reaped it."""
        if self.pidfd < 0:
            return None
        try:
            return posix.waitid(posix.P_PIDFD, self.pidfd, posix.WEXITED)
        except ChildProcessError:
            return None

    def kill(self):
        """End init, if it was spawned, and reap it."""
        if self.pidfd < 0:
            return
        try:
            calls.pidfd_send_signal(self.pidfd, 9)
        except SyscallError:
            pass
        self._reap()

    def dismiss(self):
        """End the stand-in: as if there had been no init yet."""
        posix.close(self.channel)
        self._reap()
        posix.close(self.pidfd)
        self.pid, self.pidfd, self.channel = 0, -1, -1

    def close(self):
        """Close every descriptor that is still held, and end a criu that is not done."""
        if self.criu:
            self.criu.end()
            self.criu = None
        for fd in self.fds.values():
            posix.close(fd)
        self.fds = {}
        for name in ("channel", "journal", "word_fd", "pidfd"):
            if getattr(self, name) >= 0:
                posix.close(getattr(self, name))
                setattr(self, name, -1)
