"""What a pull and a push show: a line a layer that is drawn over on a terminal, one line a change of state in a pipe, as docker does.

    progress.say("latest: Pulling from library/busybox")
    progress.layer("0123456789ab", "Downloading", 5, 10)      bytes done and to be done, 0 where that has no meaning
Threads may share one.  Source: docker pull's output; console_codes(4).
"""

import shutil
import threading
import time

from pyoci.minidocker.sizes import human_size

BAR = 50
REDRAW_S = 0.1


class Silent:
    """Shows nothing."""

    def say(self, text):
        """A line."""

    def layer(self, name, state, done=0, total=0):
        """The state of a layer."""


class Plain(Silent):
    """A line for each change of state."""

    def __init__(self, stream):
        self._stream = stream
        self._states = {}
        self._lock = threading.Lock()

    def say(self, text):
        """A line."""
        with self._lock:
            print(text, file=self._stream, flush=True)

    def layer(self, name, state, done=0, total=0):
        """A line when the state is a new one."""
        with self._lock:
            if self._states.get(name) != state:
                self._states[name] = state
                print(f"{name}: {state}", file=self._stream, flush=True)


class Bars(Silent):
    """A line a layer, drawn over in its place."""

    def __init__(self, stream):
        self._stream = stream
        self._rows = {}
        self._drawn = {}
        self._lock = threading.Lock()

    def say(self, text):
        """A line; what is below it from then on is new."""
        with self._lock:
            print(text, file=self._stream, flush=True)
            self._rows.clear()

    def layer(self, name, state, done=0, total=0):
        """Draw the layer's line, not more often than the eye can see."""
        with self._lock:
            now = time.monotonic()
            last_state, last_s = self._drawn.get(name, ("", 0.0))
            if state == last_state and now - last_s < REDRAW_S and done != total:
                return
            self._drawn[name] = (state, now)
            text = f"{name}: {state}" + (f" {bar(done, total)}" if total else "")
            text = text[: max(shutil.get_terminal_size().columns - 1, 20)]
            if name not in self._rows:
                self._rows[name] = len(self._rows)
                print(text, file=self._stream, flush=True)
                return
            up = len(self._rows) - self._rows[name]
            print(f"\x1b[{up}A\r\x1b[2K{text}\x1b[{up}B\r", end="", file=self._stream, flush=True)


def bar(done, total):
    """`[=====>     ]  1.2MB/4.5MB`."""
    filled = min(BAR * done // total, BAR)
    shape = "=" * max(filled - 1, 0) + (">" if filled else "")
    return f"[{shape:{BAR}}] {human_size(done)}/{human_size(total)}"


def for_stream(stream):
    """What suits a stream: bars on a terminal, lines elsewhere."""
    return Bars(stream) if stream.isatty() else Plain(stream)
