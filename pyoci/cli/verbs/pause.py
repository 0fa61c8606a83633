"""pyoci pause: freeze every process of a container."""

SUMMARY = "freeze every process of a container"
USAGE = "<container-id>"
ABOUT = """Freezes the container's cgroup and returns when it is frozen. `pyoci resume` thaws it."""
EXAMPLE = "pyoci pause web"
OPTIONS = ()
ARGUMENTS = (1, 1)


def call(command):
    command.runtime().pause(command.arguments[0])
