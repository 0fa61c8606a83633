"""What a user namespace changes for layers: which extended attributes overlayfs reads, and which devices can be made.

Source: user_namespaces(7), overlayfs.rst ("userxattr"), xattr(7) ("Trusted extended attributes").
"""

import errno
import functools
import os


@functools.cache
def in_user_namespace():
    """Whether this process is in a user namespace other than the first: there trusted.* and device nodes can't be had."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def unmapped_hint(error):
    """What to do about a file whose owner has no id in this user namespace, or ""."""
    is_it = error.errno == errno.EINVAL and in_user_namespace()
    return "no user id of this user namespace stands for its owner: see /etc/subuid" if is_it else ""


def overlay_attribute(name):
    """`trusted.overlay.opaque` for `opaque`, or its brother that a user namespace may write."""
    return f"{'user' if in_user_namespace() else 'trusted'}.overlay.{name}"


def is_opaque(folder):
    """Whether a layer's folder (a path or a descriptor) hides the same folder of the layers below it."""
    try:
        return os.getxattr(folder, overlay_attribute("opaque")) == b"y"
    except OSError:
        return False
