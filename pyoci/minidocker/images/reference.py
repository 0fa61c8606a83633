"""What an image's name means: docker's grammar and docker's defaults, and nothing about where it is.

    busybox                     docker.io/library/busybox:latest
    me/web:1.2                  docker.io/me/web:1.2
    host:5000/a/b@sha256:HEX    host:5000/a/b@sha256:HEX
The first component is a registry if it has a dot, a colon or a capital letter, or is `localhost`.
Source: the grammar in the documentation of distribution's `reference` package, and docker-tag(1).
"""

import re

from pyoci.minidocker.errors import BadRequest

DEFAULT_REGISTRY = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
LONGEST_NAME = 255
# The names a digest can have here, with the length of their hex.
DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?P<registry>{_HOST})/(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_ID = re.compile(r"[0-9a-f]{64}")


class Reference:
    """A normalized name.  `tag` and `digest` are "" where there is none; at most one of them is, but for a bare `name`."""

    __slots__ = ("digest", "registry", "repository", "tag")

    def __init__(self, registry, repository, tag="", digest=""):
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest

    @property
    def name(self):
        """`docker.io/library/busybox`: without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self):
        """`busybox`: the shortest spelling that means `name`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        short = self.repository.removeprefix(f"{DEFAULT_NAMESPACE}/")
        return self.repository if "/" in short else short

    @property
    def suffix(self):
        """`:tag`, `@digest`, both or nothing."""
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def familiar(self):
        """The short spelling with tag and digest, as docker shows it: `busybox:latest`."""
        return self.familiar_name + self.suffix

    def with_tag(self, tag):
        """The same name with this tag and without digest."""
        return Reference(self.registry, self.repository, tag)

    def with_digest(self, digest):
        """The same name with this digest and without tag."""
        return Reference(self.registry, self.repository, "", digest)

    def __str__(self):
        return self.name + self.suffix

    def __repr__(self):
        return f"Reference({str(self)!r})"

    def __eq__(self, other):
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))


def parse(text, default_tag=DEFAULT_TAG):
    """The Reference that a user's text means; `default_tag` where it has neither tag nor digest ("": leave it bare).

    Raises BadRequest in docker's words: `invalid reference format`.
    """
    if _ID.fullmatch(text):
        raise BadRequest(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    registry, rest = _split_registry(text)
    repository = re.split("[:@]", rest, maxsplit=1)[0]
    if repository != repository.lower():
        raise BadRequest(f"invalid reference format: repository name ({repository}) must be lowercase")
    found = _REFERENCE.fullmatch(f"{registry}/{rest}")
    if not found:
        raise BadRequest(f"invalid reference format{_why(text)}")
    if len(f"{registry}/{found['repository']}") > LONGEST_NAME:
        raise BadRequest(f"invalid reference format: repository name must not be more than {LONGEST_NAME} characters")
    tag, digest = found["tag"] or "", found["digest"] or ""
    if digest:
        check_digest(digest)
    return Reference(registry, found["repository"], tag or ("" if digest else default_tag), digest)


def check_digest(digest):
    """(algorithm, hex) of a digest.  Raises BadRequest for one that no content of ours can have."""
    algorithm, _, value = digest.partition(":")
    if algorithm not in DIGEST_LENGTHS:
        raise BadRequest(f"invalid reference format: unsupported digest algorithm: '{digest}'")
    if len(value) != DIGEST_LENGTHS[algorithm] or not re.fullmatch("[0-9a-f]+", value):
        raise BadRequest(f"invalid reference format: invalid checksum digest: '{digest}'")
    return algorithm, value


def _split_registry(text):
    """(registry, rest), docker's defaults filled in."""
    first, slash, rest = text.partition("/")
    named = slash and (first == "localhost" or "." in first or ":" in first or first != first.lower())
    registry, rest = (first, rest) if named else (DEFAULT_REGISTRY, text)
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"{DEFAULT_NAMESPACE}/{rest}"
    return registry, rest


def _why(text):
    """The commonest slips, in a few words."""
    if not text:
        return ": the name is empty"
    if "://" in text:
        return f": '{text}' is an address, a name has no scheme"
    if text != text.strip() or " " in text:
        return f": '{text}' has a space"
    return f": '{text}'"
