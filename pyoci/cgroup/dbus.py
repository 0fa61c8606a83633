"""A connection to a message bus, or to systemd itself, over a unix socket: calls, their replies, and signals.  Nothing more of D-Bus.

Only what the systemd driver needs, since every create, update and delete of a container loads it (docs/decisions/0018 has why it is no
library); the tests compare its messages with one.  D-Bus Specification, "Message Protocol", "Authentication Protocol".
"""

import posix
from _struct import Struct, error as StructError, pack
from time import monotonic

from pyoci.cgroup.gvariant import type_end
from pyoci.errors import BusError, SyscallError
from pyoci.kernel import calls

CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIELD_TYPES = {_PATH: "o", _INTERFACE: "s", _MEMBER: "s", _ERROR_NAME: "s", _REPLY_SERIAL: "u", _DESTINATION: "s", _SIGNATURE: "g"}
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
CALL_TIMEOUT_S = 30.0
# Less than the specification allows: what systemd tells us is short, and a hostile peer must not fill the memory.
MAX_MESSAGE_BYTES = 1 << 22
MAX_LINE_BYTES = 16384
MAX_SIGNALS = 1000
POLLOUT = 4
_DEEPEST = 64

_FORMATS = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_ALIGNMENT = {"y": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "g": 1, "v": 1}  # all others 4


class Connection:
    """One connection.  `is_bus`: there is a bus between us and systemd, which wants to be greeted."""

    __slots__ = ("fd", "is_bus", "serial", "buffer", "signals")

    def __init__(self, path, is_bus=True):
        """Connect and authenticate.  Raises SyscallError, BusError."""
        self.fd = calls.connect(path)
        posix.set_blocking(self.fd, False)
        self.is_bus = is_bus
        self.serial = 0
        self.buffer = bytearray()
        self.signals = []
        try:
            self._authenticate()
            if is_bus:
                self.call(*BUS, "Hello")
        except BaseException:
            self.close()
            raise

    def close(self):
        """Let go; harmless when done already."""
        if self.fd >= 0:
            posix.close(self.fd)
            self.fd = -1

    def call(self, destination, path, interface, member, signature="", *args, returns=None):
        """Call a method; its answer as a list of values.  Raises BusError for an error answer, for one of another signature than
        `returns`, where that is given, and for none in 30 s."""
        self.serial += 1
        deadline = monotonic() + CALL_TIMEOUT_S
        self._send(message(self.serial, destination if self.is_bus else "", path, interface, member, signature, args), deadline, member)
        while True:
            kind, fields, body, order = self._receive(deadline, member)
            if kind == SIGNAL:
                self._keep(fields, body, order)
            elif fields.get(_REPLY_SERIAL) == self.serial:
                values = _values(fields, body, order)
                if kind == ERROR:
                    raise BusError(member, fields.get(_ERROR_NAME, ""), str(values[0]) if values else "")
                if returns is not None and fields.get(_SIGNATURE, "") != returns:
                    raise BusError(member, "", f"the answer is {fields.get(_SIGNATURE, '')!r}, and should be {returns!r}")
                return values

    def _keep(self, fields, body, order):
        if len(self.signals) < MAX_SIGNALS:
            self.signals.append((fields.get(_MEMBER, ""), fields.get(_SIGNATURE, ""), _values(fields, body, order)))

    def wait_signal(self, member, signature, is_it, timeout_s):
        """The values of the first signal `member`, since the connection was made, that has that signature and for which is_it(values).
        Raises BusError."""
        deadline = monotonic() + timeout_s
        while True:
            for name, kinds, values in self.signals:
                if name == member and kinds == signature and is_it(values):
                    return values
            self.signals.clear()
            kind, fields, body, order = self._receive(deadline, member)
            if kind == SIGNAL:
                self._keep(fields, body, order)

    def _authenticate(self):
        """EXTERNAL, with no name: the kernel tells who we are, in every user namespace."""
        deadline = monotonic() + CALL_TIMEOUT_S
        self._send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline, "AUTH")
        for expected in (b"DATA", b"OK "):
            while b"\r\n" not in self.buffer:
                if len(self.buffer) > MAX_LINE_BYTES:
                    raise BusError("AUTH", "", "what the bus sent has no end")
                self._fill(deadline, "AUTH")
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            if not line.startswith(expected):
                raise BusError("AUTH", "", line.decode("ascii", "replace")[:100])

    def _send(self, data, deadline, waiting_for):
        while data:
            try:
                data = data[posix.write(self.fd, data) :]
            except BlockingIOError:
                self._poll(POLLOUT, deadline, waiting_for)
            except OSError as error:
                raise SyscallError("write", error.errno, "to the message bus") from None

    def _poll(self, events, deadline, waiting_for):
        left_ms = int((deadline - monotonic()) * 1000)
        if left_ms <= 0:
            raise BusError(waiting_for, "", "no answer in time")
        return calls.poll([(self.fd, events)], left_ms)

    def _fill(self, deadline, waiting_for):
        if not self._poll(calls.POLLIN, deadline, waiting_for):
            return
        try:
            data = posix.read(self.fd, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            raise SyscallError("read", error.errno, "from the message bus") from None
        if not data:
            raise BusError(waiting_for, "", "the connection was closed")
        self.buffer += data

    def _receive(self, deadline, waiting_for):
        """(type, fields, body, byte order) of the next message."""
        while (size := _size(self.buffer)) > len(self.buffer):
            self._fill(deadline, waiting_for)
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return parse_message(data)


def message(serial, destination, path, interface, member, signature, args):
    """A method call as bytes, little-endian."""
    body = bytearray()
    at = 0
    for value in args:
        end = type_end(signature, at)
        put(body, signature[at:end], value)
        at = end
    fields = [(_PATH, path), (_INTERFACE, interface), (_MEMBER, member), (_DESTINATION, destination), (_SIGNATURE, signature)]
    head = bytearray(b"l\x01\x00\x01") + pack("<II", len(body), serial)
    put(head, "a(yv)", [(code, (_FIELD_TYPES[code], text)) for code, text in fields if text])
    head += bytes(-len(head) % 8)
    return bytes(head + body)


def put(out, signature, value):
    """Append one value of one complete type; `out` begins at a multiple of 8 of the message."""
    kind = signature[0]
    out += bytes(-len(out) % _ALIGNMENT.get(kind, 4))
    if kind in _FORMATS:
        out += pack("<" + _FORMATS[kind], value)
    elif kind in "so":
        data = value.encode("utf-8", "surrogateescape")
        out += pack("<I", len(data)) + data + b"\0"
    elif kind == "g":
        out += bytes((len(value),)) + value.encode() + b"\0"
    elif kind == "v":
        put(out, "g", value[0])
        put(out, value[0], value[1])
    elif kind == "a":
        _put_array(out, signature[1:], value)
    else:
        at = 1
        for one in value:
            end = type_end(signature, at)
            put(out, signature[at:end], one)
            at = end


def _put_array(out, kind, values):
    start = len(out)
    out += b"\0\0\0\0"
    out += bytes(-len(out) % _ALIGNMENT.get(kind[0], 4))
    first = len(out)
    for one in values:
        put(out, kind, one)
    out[start : start + 4] = pack("<I", len(out) - first)


def _size(buffer):
    """The bytes of the message that the buffer begins with; 16 while that can't be told."""
    if len(buffer) < 16:
        return 16
    order = "<" if buffer[0] == 0x6C else ">"
    body, _, fields = Struct(order + "III").unpack_from(buffer, 4)
    size = 16 + fields + -fields % 8 + body
    if buffer[0] not in b"lB" or size > MAX_MESSAGE_BYTES:
        raise BusError("receive", "", "what the bus sent is no message")
    return size


def parse_message(data):
    """(type, {code: value} of the header, body, byte order) of a whole message.  Raises BusError for a broken one."""
    order = "<" if data[0] == 0x6C else ">"
    try:
        body_bytes = Struct(order + "I").unpack_from(data, 4)[0]
        reader = _Reader(data, order, 12)
        fields = dict(reader.value("a(yv)"))
        if any(code in fields and fields[code][0] != kind for code, kind in _FIELD_TYPES.items()):
            raise ValueError("a field of the header is of the wrong type")
        fields = {code: value for code, (_, value) in fields.items()}
    except (StructError, IndexError, ValueError, UnicodeError) as error:
        raise BusError("receive", "", f"a broken message: {error}") from None
    return data[1], fields, data[len(data) - body_bytes :] if body_bytes else b"", order


def _values(fields, body, order):
    """The values of a body."""
    signature = fields.get(_SIGNATURE, "")
    reader = _Reader(body, order, 0)
    found, at = [], 0
    try:
        while at < len(signature):
            end = type_end(signature, at)
            found.append(reader.value(signature[at:end]))
            at = end
    except (StructError, IndexError, ValueError, UnicodeError) as error:
        raise BusError("receive", "", f"a broken message: {error}") from None
    return found


class _Reader:
    """Reads values off a message."""

    __slots__ = ("data", "order", "at", "depth")

    def __init__(self, data, order, at):
        self.data = data
        self.order = order
        self.at = at
        self.depth = 0  # of variants: their types are not in the signature

    def value(self, signature):
        """The next value; a variant is (signature, value), a dictionary a list of pairs."""
        kind = signature[0]
        self.at += -self.at % (8 if kind == "{" else _ALIGNMENT.get(kind, 4))
        if kind in _FORMATS:
            number = self._number(_FORMATS[kind])
            return bool(number) if kind == "b" else number
        if kind in "so":
            return self._text(self._number("I"))
        if kind == "g":
            return self._text(self._number("B"))
        if kind == "v":
            inner = self.value("g")
            self.depth += 1
            if self.depth > _DEEPEST or type_end(inner, 0) != len(inner):
                raise ValueError(f"a variant that is nested too deeply, or of {inner!r}")
            found = inner, self.value(inner)
            self.depth -= 1
            return found
        if kind == "a":
            return self._array(signature[1:])
        return self._struct(signature)

    def _number(self, letter):
        layout = Struct(self.order + letter)
        (number,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return number

    def _text(self, length):
        end = self.at + length
        if self.data[end] != 0:
            raise ValueError("a string without its end")
        text = self.data[self.at : end].decode("utf-8", "surrogateescape")
        self.at = end + 1
        return text

    def _array(self, kind):
        length = self._number("I")
        self.at += -self.at % (8 if kind[0] == "{" else _ALIGNMENT.get(kind[0], 4))
        end = self.at + length
        found = []
        while self.at < end:
            found.append(self.value(kind))
        return found

    def _struct(self, signature):
        found, at = [], 1
        while at < len(signature) - 1:
            end = type_end(signature, at)
            found.append(self.value(signature[at:end]))
            at = end
        return tuple(found)
