"""Typed readers of one member of a config object; null is treated as absent.

Each takes the object, the member's name and the whole config path as a literal, so that a search for the path finds the one
place that honours it: `limit = number(memory, "limit", "linux.resources.memory.limit")`. They check the type again, because
documents also reach the compiler without validate.py; ranges and rules are validate.py's.
"""

from pyoci.errors import ConfigError


def number(owner, name, path, default=None):
    """An int, or `default` when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is int:
        return value
    return _absent(value, path, "an integer", default)


def string(owner, name, path, default=""):
    """A str, or `default` when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is str:
        return value
    return _absent(value, path, "a string", default)


def boolean(owner, name, path, default=False):
    """A bool, or `default` when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is bool:
        return value
    return _absent(value, path, "true or false", default)


def strings(owner, name, path):
    """A list of str, empty when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is list and (not value or set(map(type, value)) == {str}):
        return value
    return _absent(value, path, "an array of strings", [])


def numbers(owner, name, path):
    """A list of int, empty when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is list and (not value or set(map(type, value)) == {int}):
        return value
    return _absent(value, path, "an array of integers", [])


def section(owner, name, path):
    """A dict, empty when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is dict:
        return value
    return _absent(value, path, "an object", {})


def sections(owner, name, path):
    """A list of dict, empty when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is list and (not value or set(map(type, value)) == {dict}):
        return value
    return _absent(value, path, "an array of objects", [])


def string_map(owner, name, path):
    """A dict of str to str, empty when absent. Raises ConfigError."""
    value = owner.get(name)
    if type(value) is dict and (not value or set(map(type, value.values())) == {str}):
        return value
    return _absent(value, path, "an object of strings", {})


def _absent(value, path, expected, default):
    if value is None:
        return default
    from pyoci.spec.rules import expected_text

    raise ConfigError(path, expected_text(expected, value))
