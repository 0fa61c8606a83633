"""A bundle, the runtime with a root of its own, and a host that must look as before when the test is over."""

from support_fixtures import bundle, open_path, place, pyoci  # noqa: F401 - pytest finds them by their names here
