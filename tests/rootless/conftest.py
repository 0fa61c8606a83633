"""A user who is not root, and a mount namespace for its subordinate ids."""

from support_fixtures import place  # noqa: F401 - pytest finds it by its name here
from unprivileged import subordinate_ids, user  # noqa: F401
