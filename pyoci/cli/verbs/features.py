"""pyoci features: what this runtime can do, as features.md describes it."""

from pyoci.cli.main import write_output
from pyoci.spec.decode import encode

SUMMARY = "print what this runtime supports as JSON"
USAGE = ""
ABOUT = """Prints the features document of the OCI runtime specification: namespaces, capabilities, mount options, cgroup
and seccomp abilities."""
EXAMPLE = "pyoci features"
OPTIONS = ()
ARGUMENTS = (0, 0)


def call(command):
    write_output(encode(command.runtime().features(), "    ") + "\n")
