"""Credentials of registries, where docker keeps them: ~/.docker/config.json (or $DOCKER_CONFIG) and the credential helpers that it names.

`login` asks the registry whether they are right before they are kept.  Source: docker-login(1) "Credential stores"; docker-credential-helpers' protocol.
"""

import base64
import binascii
import contextlib
import json
import os
import subprocess
import tempfile

from pyoci.minidocker.errors import BadRequest, MiniDockerError, RegistryProblem
from pyoci.minidocker.images.reference import DEFAULT_REGISTRY

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
TOKEN_USER = "<token>"  # noqa: S105 - the user name under which helpers keep an identity token
HELPER_TIMEOUT_S = 60
NOT_FOUND = "credentials not found"


class Credentials:
    """What a registry gets: `user` and `password`, or an identity token in `token`."""

    __slots__ = ("password", "token", "user")

    def __init__(self, user="", password="", token=""):
        self.user = user
        self.password = password
        self.token = token

    def basic(self):
        """The value of a Basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def config_path(environ=os.environ):
    """docker's client configuration."""
    return f"{environ.get('DOCKER_CONFIG') or (environ.get('HOME') or '/root') + '/.docker'}/config.json"


def key_of(registry):
    """The name under which a registry's credentials are kept."""
    return DOCKER_HUB_KEY if registry in ("", DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io") else registry


def host_of(text):
    """The registry that a user of login means: `https://host/v1/` is host."""
    host = text.removeprefix("https://").removeprefix("http://").split("/", 1)[0]
    return host or DEFAULT_REGISTRY


def read_config(path):
    """The configuration as a dict, {} where there is none.  Raises MiniDockerError for what is no JSON object."""
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MiniDockerError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise MiniDockerError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise MiniDockerError(f"{path}: not a JSON object")
    return config


def find(registry, path=""):
    """The Credentials for a registry, or None."""
    path = path or config_path()
    config = read_config(path)
    key = key_of(registry)
    if helper := _helper(config, key):
        return _ask_helper(helper, key)
    auths = config.get("auths")
    entry = next((auths[name] for name in (key, f"https://{key}", f"https://{key}/", f"http://{key}") if name in auths), None) if isinstance(auths, dict) else None
    return _from_entry(entry, path, key) if isinstance(entry, dict) else None


def _from_entry(entry, path, key):
    if entry.get("identitytoken"):
        return Credentials(token=str(entry["identitytoken"]))
    if not entry.get("auth"):
        return Credentials(str(entry.get("username", "")), str(entry.get("password", ""))) if entry.get("username") else None
    try:
        user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (binascii.Error, ValueError, TypeError) as error:
        raise MiniDockerError(f"{path}: auths.{key}.auth is not base64 of user:password") from error
    if not colon:
        raise MiniDockerError(f"{path}: auths.{key}.auth is not base64 of user:password")
    return Credentials(user, password.rstrip("\0"))


def _helper(config, key):
    helpers = config.get("credHelpers")
    name = helpers.get(key) if isinstance(helpers, dict) else None
    name = name or config.get("credsStore") or ""
    if name and (not isinstance(name, str) or "/" in name):
        raise MiniDockerError(f"credential helper {name!r}: not a name")
    return name


def _run_helper(name, word, text):
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, word], input=text, capture_output=True, text=True, timeout=HELPER_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise MiniDockerError(f"{program}: not found", hint="the docker configuration names it as credential helper") from error
    except subprocess.TimeoutExpired as error:
        raise MiniDockerError(f"{program} {word}: no answer in {HELPER_TIMEOUT_S} seconds") from error
    return done


def _ask_helper(name, key):
    done = _run_helper(name, "get", key)
    if done.returncode:
        if NOT_FOUND in done.stdout.lower() + done.stderr.lower():
            return None
        raise MiniDockerError(f"docker-credential-{name} get: {(done.stdout or done.stderr).strip() or f'exit status {done.returncode}'}")
    try:
        found = json.loads(done.stdout)
        user, secret = found["Username"], found["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise MiniDockerError(f"docker-credential-{name} get: an answer that can't be read") from error
    return Credentials(token=secret) if user == TOKEN_USER else Credentials(user, secret)


def login(registry, user, password):
    """Check credentials with the registry, and keep them.  Returns docker's words.  Raises RegistryProblem, MiniDockerError, BadRequest."""
    from pyoci.minidocker.images.registry import Registry

    if not user:
        raise BadRequest("a user name is required")
    host = host_of(registry)
    with contextlib.closing(Registry(host, credentials=Credentials(user, password))) as asked:
        try:
            asked.check()
        except RegistryProblem as error:
            if error.code == "unauthorized":
                error.hint = "is the password right? Some registries take a token in its place"
            raise
    path = config_path()
    config = read_config(path)
    key = key_of(host)
    if helper := _helper(config, key):
        done = _run_helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": password}))
        if done.returncode:
            raise MiniDockerError(f"docker-credential-{helper} store: {(done.stdout or done.stderr).strip()}")
    else:
        if not isinstance(auths := config.get("auths") or {}, dict):
            raise MiniDockerError(f"{path}: auths: not a JSON object")
        config["auths"] = auths
        auths[key] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        _write_config(path, config)
    return "Login Succeeded"


def logout(registry):
    """Forget credentials.  Returns docker's words."""
    host = host_of(registry)
    key, path = key_of(host), config_path()
    config = read_config(path)
    if helper := _helper(config, key):
        done = _run_helper(helper, "erase", key)
        if done.returncode:
            raise MiniDockerError(f"docker-credential-{helper} erase: {(done.stdout or done.stderr).strip()}")
        return f"Removing login credentials for {key}"
    auths = config.get("auths")
    if not isinstance(auths, dict) or key not in auths:
        return f"Not logged in to {key}"
    del auths[key]
    _write_config(path, config)
    return f"Removing login credentials for {key}"


def _write_config(path, config):
    """Over the old one at once, closed to others: a kill leaves the old or the new."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        fd, fresh = tempfile.mkstemp(prefix=".config-", dir=folder)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(config, file, indent=1)
                file.write("\n")
            os.replace(fresh, os.path.realpath(path))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
    except OSError as error:
        raise MiniDockerError(f"write {path}: {error.strerror}") from error


def refused(registry, error):
    """A RegistryProblem that says how to log in."""
    return RegistryProblem(str(error), hint=f"'minidocker login {registry}' gives MiniDocker your name and password", code="unauthorized")
