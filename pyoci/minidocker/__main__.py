"""The way in: bin/minidocker (the launcher, with -S and -X pyoci_site=FOLDER) and `python -m pyoci.minidocker`."""

import gc
import posix
import sys

# First of all: closed descriptors 0 to 2 are occupied, so that no file of ours (the code's, the store's) becomes one of them and is written to, or is a
# container's.  /dev/null is opened the wrong way round: reading or writing still fails.
for number in range(3):
    try:
        posix.fstat(number)
    except OSError:
        posix.set_inheritable(posix.open("/dev/null", posix.O_RDONLY if number else posix.O_WRONLY), True)

gc.set_threshold(50_000, 20, 20)  # a command lives for milliseconds; one that stays still collects
tree = __file__[: -len("/pyoci/minidocker/__main__.py")]
sys.path.insert(0, tree)  # for this import, of which all else is built in, no other folder is looked into

from pyoci import hot  # noqa: E402

sys.path[:1] = []
sys.path += [tree, sys._xoptions.get("pyoci_site", tree)]
finder = hot.install("minidocker")
finder.preload("")

from pyoci.minidocker.cli.main import entry  # noqa: E402

entry(finder)
