"""Messages beside those of jeepney, and a connection beside a bus that misbehaves."""

import contextlib
import os
import socket
import threading

import pytest
from fake_systemd import FakeSystemd, Refusal
from hypothesis import given, strategies
from jeepney import DBusAddress, Endianness, Message, new_method_call, new_signal
from jeepney.low_level import Parser

from pyoci.cgroup import dbus
from pyoci.cgroup.dbus import Connection, message, parse_message
from pyoci.errors import BusError, SyscallError
from pyoci.kernel import calls

ADDRESS = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
TEXT = strategies.text(max_size=12).filter(lambda text: "\0" not in text)
SCALARS = {
    "y": strategies.integers(0, 255), "b": strategies.booleans(), "n": strategies.integers(-(2**15), 2**15 - 1),
    "q": strategies.integers(0, 2**16 - 1), "i": strategies.integers(-(2**31), 2**31 - 1), "u": strategies.integers(0, 2**32 - 1),
    "x": strategies.integers(-(2**63), 2**63 - 1), "t": strategies.integers(0, 2**64 - 1), "s": TEXT,
    "o": strategies.just("/a/b_2d"), "g": strategies.sampled_from(["", "a(sv)", "t"]),
}  # fmt: skip


def nested(typed):
    """Arrays, structures and variants of (signature, value)s."""
    return strategies.one_of(
        typed.flatmap(lambda one: strategies.integers(0, 3).map(lambda count: ("a" + one[0], [one[1]] * count))),
        strategies.lists(typed, min_size=1, max_size=3).map(lambda some: (f"({''.join(kind for kind, _ in some)})", tuple(value for _, value in some))),
        typed.map(lambda one: ("v", one)),
    )


SCALAR = strategies.sampled_from(sorted(SCALARS)).flatmap(lambda kind: SCALARS[kind].map(lambda value: (kind, value)))
TYPED = strategies.recursive(SCALAR, nested, max_leaves=6)


def as_jeepney(signature, values, endianness=Endianness.little):
    sent = new_method_call(ADDRESS, "Method", signature, values)
    sent.header.endianness = endianness
    return sent.serialise(serial=7)


def plain(value):
    """Without what differs between the two: jeepney gives bytes for ay."""
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value


@given(strategies.lists(TYPED, max_size=3))
def test_message_is_read_by_another_implementation_as_it_was_meant(values):
    signature = "".join(kind for kind, _ in values)
    sent = message(7, ADDRESS.bus_name, ADDRESS.object_path, ADDRESS.interface, "Method", signature, [value for _, value in values])
    parser = Parser()
    parser.add_data(sent)
    read = parser.get_next_message()
    assert isinstance(read, Message) and read.header.serial == 7
    wanted = new_method_call(ADDRESS, "Method", signature or None, ())
    assert read.header.fields == wanted.header.fields
    assert plain(tuple(read.body)) == plain(tuple(value for _, value in values))


@given(strategies.lists(TYPED, min_size=1, max_size=3), strategies.sampled_from(list(Endianness)))
def test_message_of_another_implementation_is_read_as_it_was_meant(values, order):
    data = as_jeepney("".join(kind for kind, _ in values), tuple(value for _, value in values), order)
    kind, fields, body, found_order = parse_message(data)
    assert (kind, fields[3]) == (dbus.CALL, "Method")
    assert dbus._values(fields, body, found_order) == plain([value for _, value in values])


@given(strategies.binary(min_size=16, max_size=80), strategies.sampled_from([b"l", b"B"]))
def test_no_message_makes_the_reader_fail_otherwise_than_by_a_refusal(data, order):
    with contextlib.suppress(BusError):
        _, fields, body, order = parse_message(order + data)
        dbus._values(fields, body, order)


@given(strategies.integers(0, 200), strategies.integers(0, 255))
def test_damaged_message_is_refused_or_read(at, byte):
    data = bytearray(as_jeepney("sa(sv)au", ("text", [("name", ("t", 5))], [1, 2])))
    data[1 + at % (len(data) - 1)] = byte
    with contextlib.suppress(BusError):
        _, fields, body, order = parse_message(bytes(data))
        dbus._values(fields, body, order)


@given(strategies.text("ay(){}vsgubot", max_size=12), strategies.binary(max_size=80))
def test_body_of_any_signature_is_refused_or_read(signature, body):
    with contextlib.suppress(BusError):
        dbus._values({8: signature}, body, "<")


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("a()", b"\x08" + bytes(15)),  # an array of nothings has no end
        ("a{}", b"\x08" + bytes(15)),
        ("v", b"\x01v\0" * 5000),
        ("v", b"\0\0"),
        ("v", b"\x02uu\0" + bytes(16)),
        ("a" * 5000 + "y", bytes(64)),
        ("(" * 5000 + "y" + ")" * 5000, bytes(64)),
    ],
    ids=["empty structs", "empty entries", "nested variants", "variant of nothing", "variant of two", "nested arrays", "nested structs"],
)
def test_body_that_has_no_end_or_no_ground_is_refused(signature, body):
    with pytest.raises(BusError, match="^receive: a broken message: "):
        dbus._values({8: signature}, body, "<")


def header(fields):
    """A reply with these bytes for its header's fields, and no body."""
    data = b"l\x02\x00\x01" + bytes(4) + b"\x01\0\0\0" + len(fields).to_bytes(4, "little") + fields
    return data + bytes(-len(data) % 8)


@pytest.mark.parametrize(
    "fields",
    [b"\x08\x01u\0\x05\0\0\0", b"\x05\x01s\0\x01\0\0\0001\0", b"\x03\x01v\0\x01y\0\x05", b"\x08\x01v\0" + b"\x01v\0" * 5000],
    ids=["signature is a number", "serial is a text", "member is a variant", "nested variants"],
)
def test_header_whose_fields_are_of_other_types_is_refused(fields):
    with pytest.raises(BusError, match="^receive: a broken message: "):
        parse_message(header(fields))


def test_dictionaries_of_a_signal_are_read():
    data = new_signal(ADDRESS, "Changed", "sa{sv}", ("unit", {"a": ("u", 5)})).serialise(serial=3)
    _, fields, body, order = parse_message(data)
    assert dbus._values(fields, body, order) == ["unit", [("a", ("u", 5))]]


# --- connections


@pytest.fixture
def bus(tmp_path):
    made = FakeSystemd(tmp_path / "bus", {})
    yield made
    made.close()


def call(connection, member, signature="", *args):
    return connection.call(ADDRESS.bus_name, ADDRESS.object_path, ADDRESS.interface, member, signature, *args)


def connected(path):
    return contextlib.closing(Connection(str(path)))


def test_connection_greets_the_bus_first(bus):
    with connected(bus.path):
        assert bus.calls == [("Hello", ())]


def test_systemd_itself_is_not_greeted(bus):
    with contextlib.closing(Connection(bus.path, is_bus=False)) as connection:
        call(connection, "Get", "ss", "i", "ActiveState")
        assert bus.calls == [("Get", ("i", "ActiveState"))]


def test_error_answer_is_raised_with_its_name_and_words(bus):
    with connected(bus.path) as connection, pytest.raises(BusError) as failed:
        call(connection, "StopUnit", "ss", "a.scope", "replace")
    assert str(failed.value) == "StopUnit: Unit a.scope not loaded (org.freedesktop.systemd1.NoSuchUnit)"


def test_connection_is_of_use_after_an_error(bus):
    def refuse(_):
        raise Refusal("org.example.No", "two\nlines.")

    bus.faults["Get"] = refuse
    with connected(bus.path) as connection:
        with pytest.raises(BusError, match=r"^Get: two lines \(org.example.No\)$"):
            call(connection, "Get", "ss", "i", "ActiveState")
        bus.faults.clear()
        assert call(connection, "Get", "ss", "i", "ActiveState") == [("s", "inactive")]


def test_missing_socket_is_told(tmp_path):
    with pytest.raises(SyscallError, match=r"^connect /.*/none: No such file or directory \(ENOENT\)$"):
        Connection(f"{tmp_path}/none")


@pytest.fixture
def peer(tmp_path):
    """peer(*answers): a path where a server gives each answer to what it reads, and then closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "peer"))
    listener.listen(1)
    threads = []

    def serve(answers):
        one, _ = listener.accept()
        with one, contextlib.suppress(OSError):
            for answer in answers:
                one.recv(4096)
                one.sendall(answer)

    def start(*answers):
        threads.append(threading.Thread(target=serve, args=(answers,), daemon=True))
        threads[0].start()
        return str(tmp_path / "peer")

    yield start
    listener.close()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ((b"REJECTED EXTERNAL\r\n",), "AUTH: REJECTED EXTERNAL"),
        ((), "AUTH: the connection was closed"),
        ((b"DATA\r\n",), "AUTH: the connection was closed"),
        ((b"DATA\r\nOK 12\r\n",), "Hello: the connection was closed"),
        ((b"DATA\r\nOK 12\r\n" + bytes(32),), "receive: what the bus sent is no message"),
        ((b"DATA" * 8192,), "AUTH: what the bus sent has no end"),
        ((b"DATA\r\nOK 12\r\nl\2\0\1\0\0\0\7" + bytes(8),), "receive: what the bus sent is no message"),
        ((b"DATA\r\nOK 12\r\nl" + b"\xff" * 31,), "receive: what the bus sent is no message"),
        ((b"DATA\r\nOK 12\r\nl\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00",), None),
    ],
)
def test_peer_that_is_no_bus_is_told(peer, answers, text):
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises((BusError, SyscallError)) as failed:
        Connection(peer(*answers))
    if text and isinstance(failed.value, BusError):
        assert str(failed.value) == text
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2  # the listener's and the server's


def test_answer_that_does_not_come_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(dbus, "CALL_TIMEOUT_S", 0.05)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen(1)
        with pytest.raises(BusError, match=r"^AUTH: no answer in time$"):
            Connection(f"{tmp_path}/silent")


def test_bus_that_reads_nothing_is_given_up(tmp_path, monkeypatch):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "deaf"))
        listener.listen(1)
        made = threading.Thread(target=lambda: accepted.append(listener.accept()[0]), daemon=True)
        accepted = []
        made.start()
        monkeypatch.setattr(Connection, "_authenticate", lambda connection: None)
        with connected_alone(tmp_path / "deaf") as connection:
            made.join(10)
            monkeypatch.setattr(dbus, "CALL_TIMEOUT_S", 0.05)
            with pytest.raises(BusError, match=r"^SetUnitProperties: no answer in time$"):
                call(connection, "SetUnitProperties", "s", "x" * (16 << 20))
        accepted[0].close()


def connected_alone(path):
    return contextlib.closing(Connection(str(path), is_bus=False))


def test_bus_that_accepts_nobody_is_given_up(tmp_path, monkeypatch):
    """Its queue is full: connect(2) itself would wait."""
    real = calls.connect
    monkeypatch.setattr(calls, "connect", lambda path: real(path, timeout_ms=50))
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as full, contextlib.ExitStack() as waiting:
        full.bind(str(tmp_path / "full"))
        full.listen(0)
        one = waiting.enter_context(socket.socket(socket.AF_UNIX))
        one.connect(str(tmp_path / "full"))
        with pytest.raises(SyscallError, match=r"^connect /.*/full: Resource temporarily unavailable \(EAGAIN\)$"):
            Connection(f"{tmp_path}/full")


def test_flood_of_signals_fills_no_memory(bus):
    with connected(bus.path) as connection:
        data = new_signal(ADDRESS, "Noise", "s", ("x",)).serialise(serial=3)
        for _ in range(2000):
            _, fields, body, order = parse_message(data)
            connection._keep(fields, body, order)
        assert len(connection.signals) == dbus.MAX_SIGNALS
