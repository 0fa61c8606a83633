"""A user who is not root, and a mount namespace for its subordinate ids."""

from minidocker_user import alone, mini  # noqa: F401 - pytest finds them by their names here
from support_fixtures import place  # noqa: F401
from unprivileged import subordinate_ids, user  # noqa: F401
