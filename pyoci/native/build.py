"""Builds what is written in C: two extension modules, an interpreter, init, MiniDocker's two companions and the launchers.

    _sys.abi3.so         the shim over Linux's calls (cffi, API mode), from sys.c and bpf.c; its cdefs are sys.h and bpf.h
    _libseccomp.abi3.so  the shim over libseccomp; left out, with a note, where <seccomp.h> is missing
    init/pyoci-init      the machine that carries out a plan in a container: static, freestanding
    monitor/minidocker-monitor, minit/minidocker-init  what stays with a MiniDocker container, and in it for --init: static, freestanding
    interpreter/python3.N  CPython's own library with a shorter start; left out, with a note, where there is no libpython3.N.a
    launcher/pyoci       what stands in bin/: static, freestanding; launcher/minidocker is its brother

`python -m pyoci.native.build` builds in place; setup.py calls build_all(into=...) for a wheel. $CC chooses the compiler, and a cross compiler
is fine for init and the launcher. Each result is replaced atomically and only when one of its sources is newer.
Cold: only the build imports this. Source: cffi's "Preparing and distributing modules", gcc(1), ld(1).
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile

NATIVE = pathlib.Path(__file__).resolve().parent
TREE = NATIVE.parent.parent

EXTENSION_FLAGS = ["-std=gnu11", "-O2", "-fPIC", "-g0"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
# Not position-independent: nothing is to be relocated at its start.
INTERPRETER_FLAGS = ["-std=gnu11", "-O2", "-g0", "-fno-pie", "-no-pie", "-s", "-Wconversion", "-Wl,--wrap=_Py_Deepfreeze_Init"]
# No libc, one read-execute segment, no unwind tables: what a waiting container costs is the pages of this file.
FREESTANDING_FLAGS = [
    "-std=gnu11", "-Os", "-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-fno-pie", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noseparate-code",
    "-Wl,-z,norelro", "-Wall", "-Wextra", "-Wconversion", "-Werror",
]  # fmt: skip

# The library of Python wants it, and nothing of ours does: loaded at every start it would cost 0.3 ms.
EXPAT = "libexpat.a"
# Those whose first phase was tried: what is missing from it is nowhere written down.
EMBEDDED_MINORS = (11,)

PROGRAMS = ("pyoci", "minidocker")
COMPANIONS = {"monitor": "minidocker-monitor", "minit": "minidocker-init"}


class BuildError(Exception):
    """A compiler or generator failed; str() is what it said."""


def compiler():
    """The compiler's command as a list: $CC, or gcc."""
    return shlex.split(os.environ.get("CC") or "gcc")


def run(command, **keywords):
    """Run a command and return its standard output. Raises BuildError with everything that it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, **keywords)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]}: not found; install a C compiler (Debian: gcc libc6-dev python3-dev)") from error
    if done.returncode:
        raise BuildError(f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}")
    if done.stderr:
        sys.stderr.write(done.stderr)
    return done.stdout


def is_fresh(target, sources, installed=()):
    """Whether the target is newer than every source and than this file, and was built after the last change to `installed`.

    What a package brings bears the time of its own build, which may be long before it came here.
    """
    try:
        built_ns = target.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    changed_ns = [file.stat().st_mtime_ns for file in [*sources, pathlib.Path(__file__)]] + [file.stat().st_ctime_ns for file in installed]
    return max(changed_ns) < built_ns


def replace_with(target, build):
    """Call build(temporary path), then rename over the target: someone may be running the old one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as scratch:
        fresh = pathlib.Path(scratch) / target.name
        build(fresh)
        os.replace(fresh, target)


def declarations(header):
    """The header's text as cffi's cdef: without preprocessor lines, which guard and include but never define."""
    return "\n".join(line for line in header.read_text().splitlines() if not line.lstrip().startswith("#"))


def build_extension(name, stems, target, libraries=()):
    """Build one cffi extension from NATIVE/{stems}.c and .h. Returns whether anything was built."""
    import cffi  # only who builds needs it, and a cross build of init does without

    present = [stem for stem in stems if (NATIVE / f"{stem}.c").exists()]
    if not present:
        return False
    sources = [NATIVE / f"{stem}.c" for stem in present]
    headers = [NATIVE / f"{stem}.h" for stem in present if (NATIVE / f"{stem}.h").exists()]
    if is_fresh(target, sources + headers):
        return False

    ffi = cffi.FFI()
    text = "\n".join(declarations(header) for header in headers)
    for word in ("pid_t", "uid_t", "gid_t", "mode_t", "dev_t", "off_t", "time_t"):
        if re.search(rf"\b{word}\b", text):
            ffi.cdef(f"typedef int... {word};")
    ffi.cdef(text)
    ffi.set_source(name, "\n".join(f'#include "{header.name}"' for header in headers))

    def build(fresh):
        scratch = fresh.parent
        glue = scratch / "glue.c"
        with contextlib.redirect_stdout(None):
            ffi.emit_c_code(str(glue))
        objects = []
        for source in [*sources, glue]:
            flags = WARNINGS if source is not glue else []
            objects.append(scratch / f"{source.stem}.o")
            includes = [f"-I{NATIVE}", f"-I{sysconfig.get_path('include')}", f"-I{sysconfig.get_path('platinclude')}"]
            run([*compiler(), *EXTENSION_FLAGS, *flags, *includes, "-c", source, "-o", objects[-1]])
        run([*compiler(), "-shared", "-s", *objects, "-o", fresh, *[f"-l{library}" for library in libraries]])

    replace_with(target, build)
    return True


def has_header(name):
    """Whether the compiler finds <name>."""
    try:
        run([*compiler(), "-E", "-x", "c", "-", "-o", os.devnull], input=f"#include <{name}>\n")
    except BuildError:
        return False
    return True


def freestanding_flags():
    """FREESTANDING_FLAGS, and what the compiler's machine needs beside them."""
    machine = run([*compiler(), "-dumpmachine"])
    return FREESTANDING_FLAGS + (["-mno-outline-atomics"] if machine.startswith("aarch64") else [])


def generate_ops_header():
    """Write init/ops.h from the table of operations, if its text is new; nothing while there is no generator."""
    if not (NATIVE.parent / "plan" / "header.py").exists():
        return
    environ = {**os.environ, "PYTHONPATH": str(TREE)}
    text = run([sys.executable, "-m", "pyoci.plan.header"], cwd=TREE, env=environ)
    header = NATIVE / "init" / "ops.h"
    if not header.exists() or header.read_text() != text:
        replace_with(header, lambda fresh: fresh.write_text(text))


def build_freestanding(folder, target, defines=(), shared=()):
    """Link every .c of the folder, and the shared ones, into one static program. Returns whether anything was built."""
    sources = [*sorted(folder.glob("*.c")), *shared]
    headers = [*sorted(folder.glob("*.h")), *(path.with_suffix(".h") for path in shared)]
    if not sources or is_fresh(target, sources + headers):
        return False
    flags = freestanding_flags()
    replace_with(target, lambda fresh: run([*compiler(), *flags, *defines, *sources, "-o", fresh, "-s"]))
    return True


def build_init(into=NATIVE):
    """Generate ops.h, then build init/pyoci-init below `into`."""
    generate_ops_header()
    return build_freestanding(NATIVE / "init", pathlib.Path(into) / "init" / "pyoci-init")


def build_companions(into=NATIVE):
    """Build MiniDocker's monitor and init below `into`; they stand on pyoci-init's floor.  Returns the names of those that were built."""
    floor = NATIVE / "init" / "nolibc.c"
    targets = [pathlib.Path(into) / folder / program for folder, program in COMPANIONS.items()]
    return [target.name for target in targets if build_freestanding(NATIVE / target.parent.name, target, shared=[floor])]


def build_launcher(target, tree="", prefix=""):
    """Build the launcher of pyoci or, by the target's name, of minidocker. Returns whether it was built.

    tree    the source tree that an editable or in-place launcher runs, or "" to find the installed package
    prefix  the prefix of the interpreter to use, or "" for the one that the launcher stands in
    """
    # json.dumps writes a C string literal for every path that C and JSON escape alike, which is all but control characters.
    defines = [f"-DPYOCI_TREE={json.dumps(tree, ensure_ascii=False)}", f"-DPYOCI_PREFIX={json.dumps(prefix, ensure_ascii=False)}"]
    if pathlib.Path(target).name == "minidocker":
        defines += ['-DPYOCI_NAME="minidocker"', '-DPYOCI_MAIN="/pyoci/minidocker/__main__.py"']
    defines.append(f"-DPYOCI_MINOR={sys.version_info.minor}")
    return build_freestanding(NATIVE / "launcher", pathlib.Path(target), defines)


def build_launchers(folder, tree="", prefix=""):
    """Build every launcher into a folder. Returns the names of those that were built."""
    return [f"launcher/{name}" for name in PROGRAMS if build_launcher(folder / name, tree, prefix)]


def build_extensions(into=NATIVE):
    """Build _sys, and _libseccomp where it can be."""
    into = pathlib.Path(into)
    built = [build_extension("pyoci.native._sys", ["sys", "bpf"], into / "_sys.abi3.so") and "_sys"]
    if has_header("seccomp.h"):
        built.append(build_extension("pyoci.native._libseccomp", ["libseccomp"], into / "_libseccomp.abi3.so", ["seccomp"]) and "_libseccomp")
    else:
        print("note: no <seccomp.h>: built without libseccomp, so linux.seccomp will be refused (Debian: libseccomp-dev)", file=sys.stderr)
    return [name for name in built if name]


def libpython():
    """The static library of the Python that runs this, or None with a note."""
    known = sysconfig.get_config_vars()
    minor = sys.version_info.minor
    if minor not in EMBEDDED_MINORS:
        why = f"not tried with Python 3.{minor}"
    else:
        for folder in (known["LIBPL"], known["LIBDIR"]):
            if (path := pathlib.Path(folder) / known["LIBRARY"]).exists():
                return path
        why = f"no {known['LIBRARY']} (Debian: python3-dev)"
    print(f"note: {why}: built without an interpreter of its own, so a command takes some 3 ms longer", file=sys.stderr)
    return None


def has_library(name):
    """Whether the linker finds a file of that name."""
    return "/" in run([*compiler(), f"-print-file-name={name}"])


def build_interpreter(into=NATIVE):
    """Build interpreter/python3.N for the Python that runs this. Returns the names of what was built."""
    source = NATIVE / "interpreter" / "interpreter.c"
    target = pathlib.Path(into) / "interpreter" / f"python3.{sys.version_info.minor}"
    python = pathlib.Path(os.path.realpath(sys.executable))
    archive = libpython()
    if not archive or is_fresh(target, [source], [archive, python]):
        return []
    facts = python.stat()
    defines = [f"-DPYOCI_PYTHON_BYTES={facts.st_size}", f"-DPYOCI_PYTHON_NS={facts.st_mtime_ns}L"]
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{sysconfig.get_path('platinclude')}"]
    words = " ".join(sysconfig.get_config_var(name) or "" for name in ("LINKFORSHARED", "LIBS", "MODLIBS", "SYSLIBS")).split()
    libraries = [f"-l:{EXPAT}" if word == "-lexpat" and has_library(EXPAT) else word for word in words]

    def build(fresh):
        run([*compiler(), *INTERPRETER_FLAGS, *WARNINGS, *includes, *defines, source, archive, *libraries, "-lm", "-o", fresh])
        if run([fresh]).strip() != sys.version:
            raise BuildError(f"{archive} is not the library of {python}")

    replace_with(target, build)
    return ["interpreter"]


def build_all(into=NATIVE):
    """Build the extensions and init below `into`, which mirrors pyoci/native. Returns the names of what was built."""
    return build_extensions(into) + _if_it_can_be(build_interpreter, into) + (["pyoci-init"] if build_init(into) else []) + build_companions(into)


def _if_it_can_be(build, into):
    """An installation goes on without the interpreter: it is a short cut."""
    try:
        return build(into)
    except BuildError as error:
        print(f"note: {error}\nnote: built without an interpreter of its own", file=sys.stderr)
        return []


def main(argv=None):
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pyoci.native.build", description="Build pyoci's C parts in place.")
    parser.add_argument("--into", default=NATIVE, type=pathlib.Path, help="build below this folder (default: in place)")
    parser.add_argument("--only-freestanding", action="store_true", help="init, its companions and launchers only: no Python headers needed, can cross-compile")
    options = parser.parse_args(argv)
    into = options.into
    parts = [] if options.only_freestanding else [lambda: build_extensions(into), lambda: build_interpreter(into)]
    parts += [lambda: build_init(into) and ["pyoci-init"], lambda: build_companions(into)]
    parts += [lambda: build_launchers(into / "launcher", str(TREE), sys.prefix)]
    built = []
    failed = False
    for part in parts:  # each: a fault in one of them leaves the others usable
        try:
            built += part() or []
        except BuildError as error:
            print(f"build: {error}", file=sys.stderr)
            failed = True
    print("built " + ", ".join(built) if built else "nothing to build")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
