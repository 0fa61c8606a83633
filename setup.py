"""The part of the build that pyproject.toml cannot say: what is compiled, and that bin/pyoci and bin/minidocker are programs.

pyoci/native/build.py compiles; the commands here only say where to. Source: setuptools' "Building extension modules", PEP 660.
"""

import pathlib
import runpy
import shutil

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from distutils.command.build_scripts import build_scripts  # setuptools', once setuptools is imported

TREE = pathlib.Path(__file__).resolve().parent
NATIVE = TREE / "pyoci" / "native"
# By path: importing pyoci.native.build would need the tree on sys.path, where a front end need not put it.
build = runpy.run_path(str(NATIVE / "build.py"))


class BuildNative(build_ext):
    """Build the extensions and init: into the wheel, or in place for `pip install -e`; and carry the schemas into the wheel."""

    def is_in_place(self):
        return bool(self.inplace or getattr(self, "editable_mode", False))

    def run(self):
        if self.is_in_place():
            build["build_all"]()
            return
        package = pathlib.Path(self.build_lib) / "pyoci"
        build["build_all"](package / "native")
        shutil.copytree(TREE / "schemas", package / "schemas", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.md"))

    def get_outputs(self):
        return []

    def get_output_mapping(self):
        return {}

    def get_source_files(self):
        return sorted(str(path.relative_to(TREE)) for pattern in ("*.[ch]", "*/*.[ch]") for path in NATIVE.glob(pattern) if path.name != "ops.h")


class BuildLauncher(build_scripts):
    """Build the launchers into the scripts: installers copy a program unchanged, where a console script would cost 8 ms a start."""

    editable_mode = False

    def run(self):
        for name in build["PROGRAMS"]:
            target = pathlib.Path(self.build_dir) / name
            target.unlink(missing_ok=True)  # an editable build and a wheel differ in what they are told, not in their sources
            build["build_launcher"](target, tree=str(TREE) if self.editable_mode else "")


setup(
    ext_modules=[Extension("pyoci.native._sys", sources=["pyoci/native/sys.c"], py_limited_api=True)],
    scripts=["pyoci/native/launcher/launcher.c"],
    cmdclass={"build_ext": BuildNative, "build_scripts": BuildLauncher},
)
