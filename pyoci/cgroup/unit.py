"""What the systemd driver asks of systemd: find it, start a scope, change one, stop one.  Over D-Bus; names and numbers are systemd.py's.

Sources: org.freedesktop.systemd1(5), systemd.scope(5), sd_booted(3), D-Bus Specification ("Server Addresses").
"""

from errno import ECONNREFUSED, ENOENT
from posix import geteuid, stat
from time import monotonic, sleep

from pyoci.cgroup.dbus import BUS, Connection
from pyoci.cgroup.layout import UNIFIED, parse_own
from pyoci.cgroup.systemd import Manager, base_of, typed
from pyoci.errors import BusError, SyscallError, UnsupportedConfig
from pyoci.kernel.proc import read_file

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{NAME}.Manager"
UNIT = f"{NAME}.Unit"
PROPERTIES = "org.freedesktop.DBus.Properties"
MATCH_JOBS = f"type='signal',sender='{NAME}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'"

SYSTEM_BUS = "/run/dbus/system_bus_socket"
PRIVATE = "/run/systemd/private"  # systemd itself, for root where no bus runs
JOB_TIMEOUT_S = 30.0
# A unit of the same name that has just ended is forgotten in a moment.
FORGET_TIMEOUT_S = 5.0
FORGET_PAUSE_S = 0.01

EXISTS = f"{NAME}.UnitExists"
NO_SUCH_UNIT = f"{NAME}.NoSuchUnit"


def find_manager(layout, environ):
    """The Manager that the caller's containers are made by; nothing is done.  Raises UnsupportedConfig where there is none.

    root's is the host's, any other user's its own (in a user namespace too: root there is no root of the host's).
    """
    if geteuid() == 0 and not in_user_namespace():
        bus_path = _system_bus(environ)
        own = {name: base_of(path) for names, path in parse_own(read_file("/proc/1/cgroup").decode()) for name in names}
        if layout.version == 2:
            own = {UNIFIED: own.get(UNIFIED, "")}
            return Manager(bus_path, False, own)
        return Manager(bus_path, False, own, _drivers(read_file("/proc/devices").decode()))
    if layout.version != 2:
        raise _refused("a user's own systemd limits nothing on cgroup v1")
    path = _session_bus(environ)
    manager = Manager(path, True, {})
    with _Bus(path) as bus:
        manager.cgroups = {UNIFIED: base_of(_property(bus, PATH, MANAGER, "ControlGroup"))}
    return manager


def _drivers(text):
    """{("c", 136): "pts"} of /proc/devices, proc_devices(5)."""
    found, kind = {}, ""
    for line in text.splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdigit():
            found[kind, int(number)] = name
        elif number:
            kind = "c" if number == "Character" else "b"
    return found


def in_user_namespace():
    """Whether ids here are not the host's.  user_namespaces(7)"""
    return read_file("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]


def _system_bus(environ):
    named = environ.get("DBUS_SYSTEM_BUS_ADDRESS")
    if named:
        return socket_of(named)
    if not _exists("/run/systemd/system"):
        raise _refused("systemd is not running on this host")
    if _exists(SYSTEM_BUS):
        return SYSTEM_BUS
    if _exists(PRIVATE):
        return PRIVATE
    raise _refused(f"there is no message bus ({SYSTEM_BUS}) to reach systemd by")


def _session_bus(environ):
    named = environ.get("DBUS_SESSION_BUS_ADDRESS")
    if named:
        return socket_of(named)
    folder = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{geteuid()}"
    if _exists(f"{folder}/bus"):
        return f"{folder}/bus"
    raise _refused(f"there is no message bus of this user ({folder}/bus, or $DBUS_SESSION_BUS_ADDRESS)")


def socket_of(address):
    """The path in a D-Bus address, `unix:path=/run/user/1000/bus`; of several the first that is one.  Raises UnsupportedConfig."""
    for one in address.split(";"):
        transport, _, words = one.partition(":")
        for word in words.split(",") if transport == "unix" else ():
            key, _, value = word.partition("=")
            if key == "path" and value:
                return _unescaped(value)
    raise _refused(f"{address!r} is no address of a message bus with a path (unix:path=...)")


def _unescaped(text):
    head, *rest = text.split("%")
    try:
        return head + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    except ValueError:
        raise _refused(f"{text!r} is no path in an address of a message bus") from None


def _refused(problem):
    return UnsupportedConfig("--systemd-cgroup", problem, hint="without the flag cgroups are made directly", document="command line")


def _exists(path):
    try:
        stat(path)
    except OSError:
        return False
    return True


class _Bus:
    """A connection for a `with`: closed at its end."""

    __slots__ = ("connection",)

    def __init__(self, path):
        self.connection = Connection(path, not path.endswith("/systemd/private"))

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


def _call(bus, member, signature="", *args, returns=None):
    return bus.call(NAME, PATH, MANAGER, member, signature, *args, returns=returns)


def _property(bus, path, interface, name):
    """A property that is a string."""
    kind, value = bus.call(NAME, path, PROPERTIES, "Get", "ss", interface, name, returns="v")[0]
    if kind != "s":
        raise BusError("Get", "", f"{name} is a {kind!r}, and should be a string")
    return value


def unit_path(unit):
    """The object path of a unit: each byte that is no letter or digit as _ and two hexadecimal digits."""
    letters = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"_{byte:02x}" for byte in unit.encode())
    first, rest = unit[:1], "".join(letters)
    return f"{PATH}/unit/" + (f"_{ord(first):02x}{rest[1:]}" if first.isdigit() else rest)


def _run_job(bus, member, signature, *args):
    """Ask for a job and wait until it is over.  Raises BusError where it isn't in 30 s, or fails."""
    if bus.is_bus:
        bus.call(*BUS, "AddMatch", "s", MATCH_JOBS)
    job = _call(bus, member, signature, *args, returns="o")[0]
    result = bus.wait_signal("JobRemoved", "uoss", lambda values: values[1] == job, JOB_TIMEOUT_S)[3]
    if result != "done":
        raise BusError(member, "", f"the job of {args[0]} ended as {result!r}")


# --- a scope


def start(bus_path, unit, slice_, description, pid, lines):
    """Have systemd make the scope with the process in it, and wait until that is done.  Raises BusError, SyscallError.

    `lines`: properties as systemd.properties() has them.  A unit of that name which has ended already is forgotten first.
    """
    with _Bus(bus_path) as bus:
        wanted = [
            ("Description", ("s", description)), ("Slice", ("s", slice_)), ("PIDs", ("au", [pid])), ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)), ("CollectMode", ("s", "inactive-or-failed")), ("CPUAccounting", ("b", True)),
            ("MemoryAccounting", ("b", True)), ("TasksAccounting", ("b", True)), ("IOAccounting", ("b", True)), *typed(lines),
        ]  # fmt: skip
        deadline = monotonic() + FORGET_TIMEOUT_S
        while True:
            try:
                return _run_job(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", wanted, [])
            except BusError as error:
                if error.name != EXISTS or not _is_ending(bus, unit) or monotonic() > deadline:
                    raise
            sleep(FORGET_PAUSE_S)


def _is_ending(bus, unit):
    """Whether the unit has ended, or is about to: then systemd is told to forget that it failed."""
    try:
        if _property(bus, unit_path(unit), UNIT, "ActiveState") not in ("inactive", "failed", "deactivating"):
            return False
        _call(bus, "ResetFailedUnit", "s", unit)
    except BusError:
        pass
    return True


def change(bus_path, unit, lines):
    """Set properties of a running unit, until it ends.  Raises BusError, SyscallError."""
    with _Bus(bus_path) as bus:
        _call(bus, "SetUnitProperties", "sba(sv)", unit, True, typed(lines))


def attach(bus_path, unit, pid):
    """Have systemd place a process in the cgroup of a running scope.  Raises BusError, SyscallError.  org.freedesktop.systemd1(5), AttachProcessesToUnit()"""
    with _Bus(bus_path) as bus:
        _call(bus, "AttachProcessesToUnit", "ssau", unit, "", [pid])


def stop(bus_path, unit, description, processes, end_processes):
    """Stop the unit, if it is the one with that description, and have systemd forget it.

    processes()      what runs in its cgroups: with nothing left there no bus is needed, which may be gone (a user who has logged out)
    end_processes()  called before, once it is known that they are the unit's own: systemd would ask them first, for up to 90 s

    Raises BusError, SyscallError.
    """
    try:
        connected = _Bus(bus_path)
    except SyscallError as error:
        if error.errno in (ENOENT, ECONNREFUSED) and not processes():
            return
        raise
    with connected as bus:
        if _property(bus, unit_path(unit), UNIT, "Description") != description:
            return
        if processes():
            end_processes()
        try:
            _run_job(bus, "StopUnit", "ss", unit, "replace")
            _call(bus, "ResetFailedUnit", "s", unit)
        except BusError as error:
            if error.name != NO_SUCH_UNIT:
                raise
