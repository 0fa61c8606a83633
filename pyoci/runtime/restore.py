"""restore: a container out of criu's images, as create and start would leave it.  Cold.

The bundle is read and judged as for create, the plan of a restore is made from create's (compile/restoring.py) and carried out; whatever
fails, everything is undone.  The images say what the processes are, the bundle what is around them.
"""

import json
import os
import posix
import stat

from pyoci.compile.restoring import NULL, Images, external, hidden, mount_points, restore_plan
from pyoci.errors import ConfigError, PyociError, SyscallError
from pyoci.kernel import calls
from pyoci.launch.criu_wire import CGROUP_MODES
from pyoci.launch.run import Launch
from pyoci.runtime.checkpoint import DESCRIPTORS, SWITCHES, config_file, make_directories, read_mounts, ready, refuse_user_namespace
from pyoci.runtime.create import give_back, make_plan, read_bundle, real_bundle, record_of, state_text
from pyoci.state.store import Container



def restore(root, container_id, bundle, images, options, warn):
    """Restore the container and let it run.  Returns (Container, Launch), the container locked.  Raises PyociError; then nothing is left.

    images   runtime.checkpoint.Options         options  runtime.create.Options
    """
    container = Container(root, container_id)
    bundle = real_bundle(bundle)
    text, config = read_bundle(bundle)
    if not config.get("process"):
        raise ConfigError("process", "must be set for the container to be restored", "config.md#process")
    refuse_user_namespace(config)
    plan, facts = make_plan(root, container_id, bundle, config, options, warn)
    _, environ, _ = ready(images)
    streams = _read_streams(images.image_path)
    plan = restore_plan(plan, config, facts, _images(images, config, streams), _mounts(plan, facts.rootfs), mount_points(plan, os.path.isdir))
    make_directories(images.work_path)
    container.claim(text)
    launch = Launch(
        plan.create,
        container,
        tell=lambda launch: container.save(record_of(launch, container_id, bundle, config, facts)),
        warn=warn,
        state=lambda status, pid: state_text(container_id, bundle, config, status, pid),
    )
    launch.environ = environ
    try:
        launch.carry_out()
        launch.note("complete")
    except BaseException as error:
        give_back(launch, container, error)
        raise
    return container, launch


def restore_and_wait(root, container_id, bundle, images, options, warn, *, no_subreaper):
    """The exit status of the restored process; 0 at once when detached."""
    from pyoci.runtime.run import in_foreground

    def begin(_):
        return restore(root, container_id, bundle, images, options, warn)

    return in_foreground(root, container_id, begin, warn, detach=options.detach, keep=False, no_subreaper=no_subreaper)


def _read_streams(image_path):
    """The names of the standard streams that checkpoint stored, three strings."""
    path = os.path.join(image_path, DESCRIPTORS)
    try:
        # Images come from elsewhere: a FIFO must not hold us, nor what is nested too deeply end in a traceback.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            names = json.loads(file.read(65536) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b"")
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or len(names) != 3 or not all(map(_is_name, names)):
        raise PyociError(f"{path}: no list of three names, as checkpoint writes it")
    return names


def _is_name(name):
    try:
        return isinstance(name, str) and b"\0" not in name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _images(given, config, streams):
    values = {
        "manage_cgroups_mode": CGROUP_MODES[given.manage_cgroups_mode], "empty_ns": calls.CLONE_NEWNET,
        "config_file": config_file(config.get("annotations") or {}), "lsm_profile": given.lsm_profile,
        "lsm_mount_context": given.lsm_mount_context,
    }  # fmt: skip
    inherit = {}
    for number, name in enumerate(streams):
        if name.startswith(("pipe:[", "file[", "tty[")):
            inherit.setdefault(name, number)
    return Images(given.image_path, given.work_path, given.switched_on(SWITCHES),
                  {name: value for name, value in values.items() if value not in (None, "")}, inherit)  # fmt: skip


def _mounts(plan, rootfs):
    """[(key in the images, source on the host, attributes set, cleared)].  A target counts with its links followed too, as runc names
    it in its images."""
    here = None
    found = []
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for bind in external(plan):
            keys = dict.fromkeys([bind.target, _resolved(root_fd, rootfs, bind.target)])
            found += [(key, bind.source, bind.attributes, bind.cleared) for key in keys]
            if bind.recursive:
                here = read_mounts("self") if here is None else here
                found += _below(bind, here)
    finally:
        os.close(root_fd)
    if hidden(plan):
        found.append((NULL.target, NULL.source, NULL.attributes, NULL.cleared))
    return found


def _below(bind, here):
    """What a recursive bind brings along."""
    inside = bind.source.rstrip("/") + "/"
    tails = [path[len(inside) - 1 :] for path in here if path.startswith(inside)]
    return [(bind.target + tail, inside[:-1] + tail, bind.attributes_below, bind.cleared_below) for tail in tails]


def _resolved(root_fd, rootfs, target):
    try:
        fd = calls.openat2(root_fd, target, os.O_PATH | os.O_CLOEXEC, calls.RESOLVE_IN_ROOT)
    except SyscallError:
        return target
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")[len(rootfs) :] or target
    finally:
        os.close(fd)
