"""Make the root file systems of the example bundles: a static busybox under all its names, and what a mount or a user expects.

    python3 bundles/rootfs.py [--busybox FILE] [BUNDLE...]

A BUNDLE is a name in this folder or the path of any bundle; without one, every example that has no rootfs yet. A rootfs that exists is
left alone. It appears by rename, so it is whole or not there. Needs no privilege. Cold: a tool of the tree, no part of the package.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BUNDLES = pathlib.Path(__file__).resolve().parent
FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\n"
ELF_INTERPRETER = b"\x03\x00\x00\x00"  # program header type PT_INTERP, elf(5)


def find_busybox(named=""):
    """The path of a static busybox. Raises SystemExit with a line that says what to install."""
    path = named or os.environ.get("BUSYBOX") or shutil.which("busybox")
    if not path:
        sys.exit("no busybox on PATH: install Debian's busybox-static, or name one with --busybox")
    if not is_static(pathlib.Path(path).read_bytes()):
        sys.exit(f"{path} is not static: install Debian's busybox-static, or name one with --busybox")
    return path


def is_static(program):
    """Whether an ELF program (its bytes, 64-bit, little-endian) names no loader. elf(5)"""
    if program[:6] != b"\x7fELF\x02\x01":
        return False
    table, size, count = (int.from_bytes(program[at : at + width], "little") for at, width in ((32, 8), (54, 2), (56, 2)))
    return all(program[table + size * index :][:4] != ELF_INTERPRETER for index in range(count))


def make_rootfs(target, busybox):
    """Make the folder `target`, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".rootfs-", dir=target.parent) as fresh:
        root = pathlib.Path(fresh) / "rootfs"
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True)
        fill(root, busybox)
        for folder, _folders, _files in os.walk(root):
            os.chmod(folder, 0o755)  # whatever the umask is: other users of the container look into it
        (root / "tmp").chmod(0o1777)
        root.rename(target)


def fill(root, busybox):
    """busybox, its names, and the two files that tell users their names."""
    program = root / "bin" / "busybox"
    shutil.copyfile(busybox, program)
    program.chmod(0o755)
    for name in subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    for name, text in (("passwd", PASSWD), ("group", GROUP)):
        (root / "etc" / name).write_text(text)
        (root / "etc" / name).chmod(0o644)


def bundle_path(name):
    """The folder of a bundle, by its name among the examples or by its path."""
    found = next((path for path in (BUNDLES / name, pathlib.Path(name)) if (path / "config.json").is_file()), None)
    return found or sys.exit(f"{name} is no bundle: there is no config.json in it")


def main():
    parser = argparse.ArgumentParser(description="Make the root file systems of the example bundles.")
    parser.add_argument("--busybox", default="", metavar="FILE", help="a static busybox (default: $BUSYBOX, or the one on PATH)")
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="names or paths (default: all examples)")
    given = parser.parse_args()
    names = given.bundles or sorted(path.parent.name for path in BUNDLES.glob("*/config.json"))
    missing = [path / "rootfs" for path in map(bundle_path, names) if not (path / "rootfs").exists()]
    if missing:
        busybox = find_busybox(given.busybox)
        for target in missing:
            make_rootfs(target, busybox)
            print(f"made {os.path.relpath(target)}")


if __name__ == "__main__":
    main()
