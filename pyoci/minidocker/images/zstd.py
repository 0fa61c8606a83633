"""A zstd decompressor in the shape of bz2's: Python 3.14's, the one of backports.zstd, or the zstd program.

Source: the documentation of compression.zstd (Python 3.14), zstd(1), RFC 8878.
"""

import os
import select
import shutil
import subprocess

from pyoci.minidocker.errors import MiniDockerError

MEMORY_BYTES = 512 << 20  # whatever its window or dictionary, as containerd's decompressor


def decompressor():
    """An object with decompress(data, max_length), eof, unused_data, needs_input.  Raises MiniDockerError where there is none."""
    if module := _module():
        return module.ZstdDecompressor()
    if program := shutil.which("zstd"):
        return Program(program)
    raise MiniDockerError("zstd: neither Python nor this host has it", "install the package zstd, or backports.zstd with pip")


def errors():
    """The exception classes of damaged data."""
    module = _module()
    return (module.ZstdError,) if module else ()


def _module():
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    return zstd


class Program:
    """The zstd program as a filter; all frames behind each other are one stream to it.  Raises OSError with its words."""

    unused_data = b""
    needs_input = True

    def __init__(self, program):
        self.eof = False
        self._process = subprocess.Popen([program, "-dcq", "--no-sparse", f"-M{MEMORY_BYTES >> 20}MB"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._into, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._into, False)

    def decompress(self, data, max_length):
        """Feed some bytes, and give what has come of all so far; b"" as data is the end."""
        if not data:
            return self._rest(max_length)
        found, view = [], memoryview(data)
        while view:
            readable, writable, _ = select.select([self._out], [self._into], [])
            if readable:
                piece = os.read(self._out, max_length)
                if not piece:
                    return self._finish()
                found.append(piece)
            if writable:
                try:
                    view = view[os.write(self._into, view) :]
                except BrokenPipeError:
                    return self._finish()
        return b"".join(found)

    def _rest(self, max_length):
        if not self._process.stdin.closed:
            self._process.stdin.close()
        return os.read(self._out, max_length) or self._finish()

    def _finish(self):
        said = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        status = self._process.wait()
        self.close()
        if status:
            raise OSError((said or [f"ended with {status}"])[-1].removeprefix("/*stdin*\\").strip(" :"))
        self.eof = True
        return b""

    def close(self):
        """End the program, whatever it is at."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                stream.close()
            except OSError:  # what was buffered for a program that is gone
                pass

    def __del__(self):
        self.close()
