"""The way in: bin/minidocker (the launcher, with -S and -X pyoci_site=FOLDER) and `python -m pyoci.minidocker`."""

import gc
import sys

gc.freeze()
tree = __file__[: -len("/pyoci/minidocker/__main__.py")]
sys.path[:1] = []
sys.path += [tree, sys._xoptions.get("pyoci_site", tree)]

from pyoci.minidocker.cli.main import entry  # noqa: E402

entry()
