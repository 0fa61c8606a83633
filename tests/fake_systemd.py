"""A systemd behind a message bus, as far as the systemd driver can see: it makes cgroups, moves processes and keeps properties.

Its D-Bus is jeepney's, which knows nothing of pyoci's.  One thread a connection; every call is kept in `calls`.
"""

import contextlib
import os
import pathlib
import signal
import socket
import threading
import time

from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_return, new_signal
from jeepney.low_level import Parser

NAME = "org.freedesktop.systemd1"
MANAGER = DBusAddress("/org/freedesktop/systemd1", NAME, f"{NAME}.Manager")


class Refusal(Exception):
    """An error answer: its name and its words."""


class FakeSystemd:
    """Listens at `path` until close().

    hierarchies  controller -> mount point of where it makes cgroups
    units        name -> {"properties": {name: (signature, value)}, "directories": [path]}
    faults       method -> what happens in place of it: callable(arguments), which may raise Refusal
    results      method -> the result of its job, "done" where there is none; None: the job never ends
    control_group what the manager says is its own cgroup
    """

    def __init__(self, path, hierarchies):
        self.path = str(path)
        self.address = f"unix:path={self.path}"
        self.hierarchies = hierarchies
        self.units = {}
        self.calls = []
        self.faults = {}
        self.results = {}
        self.control_group = ""
        self.jobs = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.connections = []
        self.threads = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        """End it, its units and their processes."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in self.connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for name in list(self.units):
            self.StopUnit(name, "replace")

    def settle(self):
        """Wait until every caller has gone, and its descriptors here with it."""
        for thread in list(self.threads):
            thread.join(10)
            assert not thread.is_alive()

    def called(self, member):
        """The arguments of each call of a method."""
        return [arguments for name, arguments in self.calls if name == member]

    def properties(self, unit):
        """{name: value} of a unit."""
        return {name: value for name, (_, value) in self.units[unit]["properties"].items()}

    # --- the wire

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.listener.accept()
                self.connections.append(one)
                self.threads.append(threading.Thread(target=self._serve, args=(one,), daemon=True))
                self.threads[-1].start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            data = self._authenticate(connection)
            parser = Parser()
            while True:
                parser.add_data(data)
                while (message := parser.get_next_message()) is not None:
                    self._answer(connection, message)
                data = connection.recv(65536)
                if not data:
                    return

    def _authenticate(self, connection):
        data = b""
        while b"BEGIN\r\n" not in data:
            more = connection.recv(4096)
            if not more:
                raise OSError
            data += more
        head, _, rest = data.partition(b"BEGIN\r\n")
        assert head == b"\0AUTH EXTERNAL\r\nDATA\r\n", head
        connection.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
        return rest

    def _answer(self, connection, message):
        assert message.header.message_type == MessageType.method_call
        member, arguments = message.header.fields[HeaderFields.member], tuple(message.body)
        self.calls.append((member, arguments))
        asked = message.header.fields[HeaderFields.path].rpartition("/")[2]
        try:
            if member in self.faults:
                self.faults[member](arguments)
            signature, *body = self.Get(*arguments, asked) if member == "Get" else getattr(self, member)(*arguments)
            answer = new_method_return(message, signature or None, tuple(body))
        except Refusal as error:
            answer = new_error(message, error.args[0], "s", (error.args[1],))
        connection.sendall(answer.serialise(serial=1))
        result = self.results.get(member, "done")
        if answer.body and answer.header.fields.get(HeaderFields.signature) == "o" and result:
            connection.sendall(new_signal(MANAGER, "NothingToSee", "a{sv}", ({"x": ("u", 1)},)).serialise(serial=2))
            removed = (1, answer.body[0], arguments[0], result)
            connection.sendall(new_signal(MANAGER, "JobRemoved", "uoss", removed).serialise(serial=3))

    # --- the methods

    def Hello(self):
        return "s", ":1.7"

    def AddMatch(self, rule):
        assert "JobRemoved" in rule
        return ("",)

    def _job(self):
        self.jobs += 1
        return "o", f"/org/freedesktop/systemd1/job/{self.jobs}"

    def StartTransientUnit(self, unit, mode, properties, auxiliary):
        assert (mode, auxiliary) == ("replace", [])
        if unit in self.units:
            raise Refusal(f"{NAME}.UnitExists", f"Unit {unit} was already loaded or has a fragment file.")
        given = dict(properties)
        (pid,) = given["PIDs"][1]
        names = given["Slice"][1].removesuffix(".slice").split("-")
        inner = "".join(f"/{'-'.join(names[: count + 1])}.slice" for count in range(len(names))) if any(names) else ""
        made = []
        for point in self.hierarchies.values():
            folder = pathlib.Path(f"{point}{inner}/{unit}")
            folder.mkdir(parents=True)
            made.append(folder)
            (folder / "cgroup.procs").write_text(str(pid))
        self.units[unit] = {"properties": given, "directories": made, "state": "active"}
        return self._job()

    def StopUnit(self, unit, mode):
        if unit not in self.units:
            raise Refusal(f"{NAME}.NoSuchUnit", f"Unit {unit} not loaded.")
        for folder in self.units.pop(unit)["directories"]:
            _remove_cgroup(folder)
        return self._job()

    def ResetFailedUnit(self, unit):
        if unit not in self.units:
            raise Refusal(f"{NAME}.NoSuchUnit", f"Unit {unit} not loaded.")
        if self.units[unit]["state"] == "failed":
            del self.units[unit]
        return ("",)

    def SetUnitProperties(self, unit, runtime, properties):
        assert runtime is True
        if unit not in self.units:
            raise Refusal(f"{NAME}.NoSuchUnit", f"Unit {unit} not found.")
        self.units[unit]["properties"].update(dict(properties))
        return ("",)

    def AttachProcessesToUnit(self, unit, inner, pids):
        assert inner == ""
        if unit not in self.units:
            raise Refusal(f"{NAME}.NoSuchUnit", f"Unit {unit} not loaded.")
        for folder in self.units[unit]["directories"]:
            for pid in pids:
                (folder / "cgroup.procs").write_text(str(pid))
        return ("",)

    def Get(self, interface, name, path):
        if name == "ControlGroup":
            return "v", ("s", self.control_group)
        unit = next((unit for unit in self.units if _label(unit) == path), None)
        if name == "ActiveState":
            return "v", ("s", self.units[unit]["state"] if unit else "inactive")
        return "v", self.units[unit]["properties"][name] if unit else ("s", "nothing of that name")


def _label(unit):
    return "".join(letter if letter.isalnum() else f"_{ord(letter):02x}" for letter in unit)


def _remove_cgroup(folder):
    """End what is in it, and remove it and the slices above that are empty then."""
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            folder.rmdir()
            break
        time.sleep(0.01)
    for above in folder.parents:
        try:
            above.rmdir()
        except OSError:
            return
