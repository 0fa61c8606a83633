"""A stream read ahead by a thread: unpacking and hashing go on (they release the interpreter's lock) while files are made.

Source: the documentation of zlib, hashlib and queue.
"""

import queue
import threading

CHUNK = 1 << 20
DEPTH = 8


class Ahead:
    """A context around `stream.read(n)`.  read() gives its pieces in order, and raises what it raised; leaving the block ends the thread."""

    def __init__(self, stream):
        self._stream = stream
        self._pieces = queue.Queue(DEPTH)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._ended = False

    def __enter__(self):
        self._thread.start()
        return self

    def _run(self):
        piece = None
        while piece != b"" and not self._stopped.is_set():
            try:
                piece = self._stream.read(CHUNK)
            except BaseException as error:
                self._pieces.put(error)
                return
            self._pieces.put(piece)

    def read(self, _count=CHUNK):
        """The next piece, b"" at the end."""
        if self._ended:
            return b""
        piece = self._pieces.get()
        if isinstance(piece, BaseException):
            self._ended = True
            raise piece
        self._ended = not piece
        return piece

    def __exit__(self, *_):
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._pieces.get(timeout=0.01)  # it may wait for room
            except queue.Empty:
                pass
        self._thread.join()
