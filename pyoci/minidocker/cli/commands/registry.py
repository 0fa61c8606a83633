"""pull, push, login, logout: registries.  docker-pull(1), docker-push(1), docker-login(1), docker-logout(1)"""

import sys

from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, TEXT, Option
from pyoci.minidocker.errors import BadRequest


def _progress(call):
    from pyoci.minidocker.images.progress import for_stream

    return None if call.values["quiet"] else for_stream(sys.stdout)


def pull(call):
    """Get an image; its full name is the last line."""
    from pyoci.minidocker.images import reference
    from pyoci.minidocker.images.pull import pull as pull_image

    name = reference.parse(call.arguments[0])
    pull_image(call.engine.store, call.arguments[0], call.values["platform"] or "", _progress(call))
    print(name)


def push(call):
    """Send an image to its registry."""
    from pyoci.minidocker.images.push import push as push_image

    push_image(call.engine.store, call.arguments[0], _progress(call))


def login(call):
    """Check and keep credentials."""
    from pyoci.minidocker.images import auth

    values = call.values
    registry = call.arguments[0] if call.arguments else ""
    user, password = values["username"], values["password"]
    if values["password-stdin"]:
        if password is not None:
            raise BadRequest("--password and --password-stdin are mutually exclusive")
        if not user:
            raise BadRequest("must provide --username with --password-stdin")
        password = sys.stdin.read().rstrip("\r\n")
    elif password is not None:
        print("WARNING: Using --password via the CLI is insecure. Use --password-stdin.", file=sys.stderr)
    if user is None or password is None:
        user, password = _ask(user)
    print(auth.login(registry, user, password))


def _ask(user):
    import getpass  # cold: a person is there

    if not sys.stdin.isatty():
        raise BadRequest("cannot ask for a user and password: standard input is no terminal", hint="give --username and --password-stdin")
    user = user or input("Username: ").strip()
    return user, getpass.getpass("Password: ")


def logout(call):
    """Forget credentials."""
    from pyoci.minidocker.images import auth

    print(auth.logout(call.arguments[0] if call.arguments else ""))


QUIET = Option("quiet", "q", FLAG, "don't show the progress")
COMMANDS = {
    "pull": Command(pull, "[OPTIONS] NAME[:TAG|@DIGEST]", "get an image from a registry", "minidocker pull busybox:1.36", least=1, most=1, options=(
        Option("platform", "", TEXT, "platform, such as linux/arm64"), QUIET)),
    "push": Command(push, "[OPTIONS] NAME[:TAG]", "send an image to its registry", "minidocker push localhost:5000/busybox", least=1, most=1, options=(QUIET,)),
    "login": Command(login, "[OPTIONS] [SERVER]", "log in to a registry", "minidocker login -u me registry.example.com", most=1, options=(
        Option("username", "u", TEXT, "user name"),
        Option("password", "p", TEXT, "password or token; others on this host can see it"),
        Option("password-stdin", "", FLAG, "read the password from standard input"))),
    "logout": Command(logout, "[SERVER]", "log out from a registry", "minidocker logout registry.example.com", most=1),
}  # fmt: skip
