"""pyoci resume: thaw a paused container."""

SUMMARY = "thaw a paused container"
USAGE = "<container-id>"
ABOUT = """Lets the processes of a container that `pyoci pause` froze go on."""
EXAMPLE = "pyoci resume web"
OPTIONS = ()
ARGUMENTS = (1, 1)


def call(command):
    command.runtime().resume(command.arguments[0])
