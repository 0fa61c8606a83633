"""pyoci features: what this runtime can do, as features.md describes it."""

from pyoci.cli.main import write_output

SUMMARY = "print what this runtime supports as JSON"
USAGE = ""
ABOUT = """Prints the features document of the OCI runtime specification: namespaces, capabilities, mount options, cgroup
and seccomp abilities."""
EXAMPLE = "pyoci features"
OPTIONS = ()
ARGUMENTS = (0, 0)


def call(command):
    import json  # cold

    write_output(json.dumps(command.runtime().features(), indent=4, ensure_ascii=False) + "\n")
