"""What an image's config or a container's process chooses, where MiniDocker reads it: refused at create, or harmless."""

import io

import pytest

from pyoci.errors import PyociError
from pyoci.minidocker import logs, probe, stats
from pyoci.minidocker.create import merge
from pyoci.minidocker.errors import BadRequest, NotFound
from pyoci.minidocker.health import Check
from pyoci.minidocker.judge import judge_merged


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"StopSignal": "FOO"}, "Invalid signal: FOO"),
        ({"WorkingDir": "here"}, "the working directory 'here' is invalid"),
        ({"Env": ["=x"]}, "invalid environment variable: '=x'"),
        ({"Env": ["A=\0"]}, "invalid environment variable: 'A="),
        ({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 999_999}}, "StartInterval in Healthcheck cannot be less than 1ms"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_image_may_not_say_what_a_request_may_not(config, words):
    with pytest.raises(BadRequest, match=f"^{words}"):
        judge_merged(merge({"Image": "x", "Cmd": ["x"]}, config))


def test_image_without_oddities_is_fine():
    judge_merged(merge({"Image": "x"}, {"StopSignal": "SIGTERM", "WorkingDir": "/w", "Env": ["A=b"], "Healthcheck": {"Test": ["CMD", "x"], "Interval": 10**9}}))


@pytest.mark.needs("root")
def test_container_of_an_unknown_stop_signal_can_be_stopped_and_killed(place):
    for deed in (place.engine.stop, place.engine.kill):
        container_id = place.up("sh", "-c", "exec sleep 1000", StopTimeout=0)
        body = {**place.get(container_id).body, "StopSignal": "FOO"}
        with place.store.change() as db:
            place.get(container_id).update(db, **_as_column(place, body))
        deed(container_id)
        assert place.get(container_id).status == "exited"


def _as_column(place, body):
    import json

    return {"body": json.dumps(body)}


@pytest.mark.needs("root")
def test_stop_and_health_check_may_take_longer_than_poll_can_wait(place):
    container_id = place.up("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done", StopTimeout=1 << 40)
    place.until(lambda: place.log(container_id))
    place.engine.stop(container_id)
    assert place.get(container_id).exit_code == 0
    other = place.up("sleep", "1000")
    check = Check({"Healthcheck": {"Test": ["CMD", "true"], "Timeout": (1 << 63) - 1}})
    assert probe.run_check(place.store, place.get(other), check) == (0, "")


def test_log_is_read_in_pieces():
    class File(io.BytesIO):
        def read(self, count=-1):
            assert 0 < count <= 1 << 20
            return super().read(count)

    line = b'{"log":"%s\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n' % (b"x" * 1000)
    held = bytearray()
    records = list(logs._read_on(File(line * 3000 + b'{"log'), held))
    assert len(records) == 3000 and held == b'{"log'
    assert not list(logs._read_on(File(b'":"y","stream":"stderr","time":"2026-01-01T00:00:00Z"}'), held))
    (last,) = logs._read_on(File(b"\n"), held)
    assert (last.stream, last.data) == ("stderr", b"y")


def test_title_of_a_process_is_no_row():
    text = "  PID CMD\n    7 mine\u2028    8 \x0b 9 not\n    8 theirs\n"
    assert stats.select_processes(text, {"7"})["Processes"] == [["7", "mine\u2028    8 \x0b 9 not"]]


def test_names_of_interfaces_need_not_be_ascii(monkeypatch):
    text = b"Inter-|\n face |\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  \xff\xe9: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
    monkeypatch.setattr(stats, "open", lambda _path, **options: io.TextIOWrapper(io.BytesIO(text), **options), raising=False)
    assert stats.networks(1) == {"\udcff\udce9": dict(zip(("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped"),
                                                          (1, 2, 3, 4, 9, 10, 11, 12), strict=True))}  # fmt: skip


def test_text_that_is_no_utf8_is_recorded_and_found_by_nothing(store):
    with store.change() as db:
        db.execute("insert into events (time_ns, type, action, actor, attributes) values (?, 'image', ?, ?, '{}')", (1, "a\udcff", "b\ud800"))
    assert tuple(store.db.execute("select action, actor from events").fetchone()) == (r"a\udcff", r"b\ud800")
    assert store.db.execute("select 1 from events where action = ?", ("\udcff",)).fetchone() is None


@pytest.mark.needs("root")
def test_user_that_is_no_text_is_one_line(place):
    container_id = place.create("true", User="\ud800")
    with pytest.raises(PyociError, match="^unable to find user"):
        place.engine.start(container_id)
    assert place.get(container_id).error == r"unable to find user \ud800: no matching entries in passwd file"
    with pytest.raises(NotFound):
        place.engine.inspect("\udcff")


@pytest.mark.parametrize(("path", "shown"), [("/a\0b", "'/a\\x00b'"), ("/\ud800", "'/\\ud800'")], ids=["nul", "half a character"])
def test_volume_that_is_no_path_is_one_line(place, path, shown):
    container_id = place.create("true", Volumes={path: {}})
    with pytest.raises(BadRequest) as caught:
        place.engine.start(container_id)
    assert str(caught.value) == f"volume {shown}: not a path"
