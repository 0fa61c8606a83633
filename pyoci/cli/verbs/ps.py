"""pyoci ps: the processes of a container, as pids or as the host's ps shows them."""

from pyoci.cli.main import write_output
from pyoci.cli.options import TEXT
from pyoci.errors import PyociError, UsageError

SUMMARY = "show the processes of a container"
USAGE = "<container-id> [ps options]"
ABOUT = """Runs the host's ps with the given options (default: -ef) and keeps the rows of the container's processes; ps must
print a PID column. With --format json, prints the pids as the host sees them. Flags come before the id."""
EXAMPLE = "pyoci ps --format json web"
OPTIONS = (("format", "f", TEXT, "table|json", "how to print (default: table)"),)
ARGUMENTS = (1, None)

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # for callers that give no environment


def call(command):
    container_id, *ps_options = command.arguments
    style = command.values.get("format", "table")
    pids = command.runtime().ps(container_id)
    if style == "json":
        write_output(f"[{','.join(str(pid) for pid in pids)}]\n")
    elif style == "table":
        write_output(rows_of(host_ps(ps_options or ["-ef"]), pids))
    else:
        raise UsageError("invalid format option")


def host_ps(options):
    """What the host's ps prints. Raises PyociError with its complaint."""
    import os  # cold: people and docker top
    import subprocess

    environment = {**os.environ, "PATH": os.environ.get("PATH") or USUAL_PATH}
    program = _find_ps(environment["PATH"])
    done = subprocess.run([program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    output = done.stdout.decode("utf-8", "surrogateescape")
    if done.returncode:
        raise PyociError(f"ps {' '.join(options)}: exit status {done.returncode}: {output.strip()}")
    return output


def _find_ps(search_path):
    import shutil

    program = shutil.which("ps", path=search_path)
    if program is None:
        raise PyociError(f'exec: "ps": executable file not found in $PATH ({search_path})')
    return program


def rows_of(output, pids):
    """The header of ps and the rows whose PID is one of `pids`. Raises PyociError."""
    header, *rows = output.split("\n")
    titles = header.split()
    if "PID" not in titles:
        raise PyociError("couldn't find PID field in ps output")
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [row for row in rows if _cell(row, column) in wanted]
    return "\n".join([header, *kept]) + "\n"


def _cell(row, column):
    cells = row.split(None, column + 1)
    return cells[column] if len(cells) > column else ""
