"""MiniDocker's part of the exception tree.  str() is the whole line; `hint` is what to do about it, or "".

    PyociError
      MiniDockerError       exit 125: MiniDocker itself refused or failed
        NotFound            no such container, image, exec
        Conflict            a name in use, a container that is running, an image that is used
        BadRequest          a value that cannot be: quotes it
        ImageProblem        a manifest, layer, archive or registry answer that cannot be trusted or read
        RegistryProblem     the registry said no, or cannot be reached
"""

from pyoci.errors import PyociError


def nearest(word, known, before=""):
    """A hint to the one of the known that was meant, or ""; `before` is written in front of it."""
    import difflib  # cold: something misspelt

    found = difflib.get_close_matches(word, [one for one in known if one], 1)
    return f"did you mean '{before}{found[0]}'?" if found else ""


class MiniDockerError(PyociError):
    """The root of MiniDocker's own.  docker(1): 125 is the error of docker itself."""

    exit_status = 125

    def __init__(self, text, hint=""):
        super().__init__(text)
        self.hint = hint


class NotFound(MiniDockerError):
    """Names what is not there, in docker's words: `No such container: web`."""


class Conflict(MiniDockerError):
    """Another thing stands in the way."""


class BadRequest(MiniDockerError):
    """The request itself is wrong."""


class ImageProblem(MiniDockerError):
    """Content of an image is broken, hostile or unknown."""


class RegistryProblem(MiniDockerError):
    """`code`: the registry's error code or HTTP status as a word, or ""."""

    def __init__(self, text, hint="", code=""):
        super().__init__(text, hint)
        self.code = code
