"""The way in: `bin/pyoci` (the launcher) and `python -m pyoci`.

Started with -S there is no site-packages on sys.path; the launcher names it with -X pyoci_site. Appended, not put in front: a package there
cannot hide the standard library, and finding the standard library costs no look into it. Kept short, as this one file is compiled at
every start. Source: Python's "Command line and environment".
"""

import sys


class SiteAsLastResort:
    """A finder asked after all others: cffi may live where only `site` knows (a user's packages, a distribution's)."""

    def find_spec(name, path=None, target=None):
        if path is None:
            sys.meta_path.remove(SiteAsLastResort)
            import site  # 2.5 ms that only an unusual installation pays

            site.main()
            for finder in sys.meta_path:
                if spec := finder.find_spec(name, path, target):
                    return spec
        return None


def start():
    """Run the command line and leave without the interpreter's own clean-up, which costs a millisecond."""
    tree = __file__[: -len("/pyoci/__main__.py")]
    site_packages = sys._xoptions.get("pyoci_site", tree)
    for folder in (tree, site_packages):
        if folder not in sys.path:
            sys.path.append(folder)
    if sys.flags.no_site:
        sys.meta_path.append(SiteAsLastResort)
    import posix

    from pyoci.cli.main import main

    status = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    posix._exit(status)


if __name__ == "__main__":
    start()
