"""The way in: bin/pyoci (the launcher, with -S and -X pyoci_site=FOLDER) and `python -m pyoci`. Short: it is compiled at every start."""

import gc
import sys

gc.disable()  # a verb lives for milliseconds, and leaves no cycles worth collecting
tree = __file__[: -len("/pyoci/__main__.py")]
sys.path.insert(0, tree)  # for this import, of which all else is built in, no other folder is looked into

from pyoci import hot  # noqa: E402

# Appended: a package there cannot hide the standard library, whose import then costs no look into it.
sys.path[:1] = []
sys.path += [tree, sys._xoptions.get("pyoci_site", tree)]
finder = hot.install("pyoci")
finder.preload("")

from pyoci.cli.main import entry  # noqa: E402

entry(finder)
