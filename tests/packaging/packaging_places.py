"""Places to install a wheel in, and a probe that says how the launcher started it."""

import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

TREE = pathlib.Path(__file__).resolve().parents[2]
MINOR = sys.version_info.minor
SITE = pathlib.Path(sysconfig.get_path("purelib"))
BUILT = ("*.so", "__pycache__", "pyoci-init", "ops.h", "pyoci.egg-info")
DEPENDENCIES = ("cffi", "_cffi_backend*.so", "jsonschema", "pyroute2")

# Stands in for pyoci.cli.main in what was installed, and says how it was started.
PROBE = '''
import sys


def entry(*_at_end):
    import json, posix
    try:
        import _cffi_backend
        from pyoci.native import _sys
        shim = _sys.__file__
    except ImportError as error:
        shim = str(error)
    import pyoci
    said = {"arguments": [word.encode("utf-8", "surrogateescape").hex() for word in sys.argv[1:]],
            "package": pyoci.__file__, "shim": shim, "no_site": sys.flags.no_site, "isolated": sys.flags.isolated,
            "utf8": sys.flags.utf8_mode, "executable": sys.executable, "path": sys.path}
    print(json.dumps(said))
    sys.stdout.flush()
    posix._exit(7)
'''


def copy_tree(target):
    """Copy what a build needs, without anything that was built."""
    target.mkdir()
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "LICENSE", "README.md"):
        if (TREE / name).exists():
            shutil.copy(TREE / name, target)
    for name in ("pyoci", "schemas"):
        shutil.copytree(TREE / name, target / name, ignore=shutil.ignore_patterns(*BUILT))
    (target / "pyoci" / "native" / "launcher" / "pyoci").unlink(missing_ok=True)
    return target


def call_backend(hook, tree, folder):
    """Let the build backend make a wheel in the folder; returns its path."""
    code = f"import sys, setuptools.build_meta as backend; print(backend.{hook}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / done.stdout.splitlines()[-1]


def make_venv(folder, dependencies=True):
    """A virtual environment without pip, whose dependencies are links to ours. Returns its site-packages."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / "lib" / f"python3.{MINOR}" / "site-packages"
    if dependencies:
        link_dependencies(site)
    return site


def link_dependencies(site):
    """Make our own dependencies importable from the folder."""
    for pattern in DEPENDENCIES:
        for found in SITE.glob(pattern):
            (site / found.name).symlink_to(found)


def unpack(wheel, site, programs):
    """What an installer does with a wheel: files into the site folder, scripts into the programs folder, executable."""
    site.mkdir(parents=True, exist_ok=True)
    programs.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for script in site.glob("*.data/scripts/*"):
        script.chmod(0o755)
        shutil.move(script, programs / script.name)
    return programs / "pyoci"


def put_probe(package):
    """Replace the command line by PROBE."""
    (package / "cli" / "main.py").write_text(PROBE)


def start(program, *arguments, environ=None, cwd="/", argv0=None):
    """Run the program with an empty environment, where nobody would expect it."""
    command = [argv0 or program, *arguments]
    return subprocess.run(command, executable=program, env=environ or {}, cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL)


def probed(*arguments, **keywords):
    """Start a program whose command line is the probe; returns what that said."""
    done = start(*arguments, **keywords)
    assert done.returncode == 7, (done.returncode, done.stdout, done.stderr)
    assert done.stderr == b""
    said = json.loads(done.stdout)
    said["arguments"] = [bytes.fromhex(word) for word in said["arguments"]]
    return said
