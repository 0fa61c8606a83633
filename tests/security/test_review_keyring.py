"""The caller's keys: no namespace hides them, so the container gets a session keyring of its own.  keyrings(7), session-keyring(7)"""

import ctypes
import platform

import pytest

pytestmark = pytest.mark.needs("root", "busybox")
ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
JOIN_SESSION_KEYRING, SET_PERMISSIONS, SESSION, FOR_POSSESSOR_ONLY = 1, 5, -3, 0x3F000000
SECRET = "pyoci-test-secret"


def call(*args):
    result = ctypes.CDLL(None, use_errno=True).syscall(*args)
    assert result >= 0, ctypes.get_errno()
    return result


def hold_a_secret():
    """In the child that becomes pyoci: a session keyring with a key that only who possesses it sees."""
    call(KEYCTL, JOIN_SESSION_KEYRING, None)
    key = call(ADD_KEY, b"user", SECRET.encode(), b"x", 1, SESSION)
    call(KEYCTL, SET_PERMISSIONS, key, FOR_POSSESSOR_ONLY)


@pytest.fixture
def bundle(bundle):
    bundle.linux["maskedPaths"] = []
    return bundle.write()


def test_run_possesses_no_key_of_the_caller(pyoci, bundle):
    done = pyoci.run(bundle.shell("cat /proc/keys"), preexec_fn=hold_a_secret)
    assert done.returncode == 0 and SECRET not in done.stdout


@pytest.mark.parametrize("user", ["0", "1000"])
def test_exec_possesses_no_key_of_the_caller(pyoci, bundle, user):
    container_id = pyoci.start(bundle)
    assert SECRET not in pyoci.ok("exec", "--user", user, container_id, "cat", "/proc/keys", preexec_fn=hold_a_secret)


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_without_a_new_keyring_the_keys_are_the_callers(pyoci, bundle, verb):
    """What --no-new-keyring asks for; and shows that the tests above would see the key."""
    if verb == "run":
        said = pyoci.run(bundle.shell("cat /proc/keys"), None, "--no-new-keyring", preexec_fn=hold_a_secret).stdout
    else:
        container_id = pyoci.start(bundle, None, "--no-new-keyring")
        said = pyoci.ok("exec", container_id, "cat", "/proc/keys", preexec_fn=hold_a_secret)
    assert SECRET in said
