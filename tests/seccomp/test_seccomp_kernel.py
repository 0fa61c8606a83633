"""Filters in the kernel: a forked child loads one, makes calls, and tells what they answered."""

import ctypes
import errno
import json
import os
import pathlib
import platform
import signal
import threading

import pytest

from pyoci.minidocker.seccomp import default_profile
from pyoci.seccomp import program

pytestmark = [
    pytest.mark.needs("libseccomp"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls are made by x86_64's numbers"),
]
PROFILE = json.loads((pathlib.Path(__file__).resolve().parents[2] / "bundles/profiles/docker-size.json").read_text())
GETPID, SOCKET, GETCWD, PERSONALITY, MOUNT, SECCOMP, CLONE3, NEWER = 39, 41, 79, 135, 165, 317, 435, 1000
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER = 38, 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def call(number, *args):
    """The result of a system call, or -errno."""
    result = LIBC.syscall(number, *[ctypes.c_ulong(word) for word in args])
    return -ctypes.get_errno() if result == -1 else result


def load(made):
    assert LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    loaded = Program(len(made.bpf) // 8, made.bpf)
    assert LIBC.syscall(SECCOMP, SET_MODE_FILTER, made.flags, ctypes.byref(loaded)) == 0


def in_child(seccomp, action):
    """(action's results, None) of a child that runs action() under the filter, or (None, the signal that killed it)."""
    made = program.compile_filter(seccomp)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            load(made)
            os.write(writer, json.dumps(action()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    _, status = os.waitpid(pid, 0)
    return (json.loads(text), None) if text else (None, os.WTERMSIG(status))


def answers(seccomp, *calls):
    return in_child(seccomp, lambda: [call(*one) for one in calls])[0]


def deny(name, action, **more):
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [name], "action": action, **more}]}


def test_docker_size_profile_denies_what_it_does_not_name():
    assert answers(PROFILE, (MOUNT, 0, 0, 0, 0, 0), (PERSONALITY, 0x1234)) == [-errno.EPERM, -errno.EPERM]


def test_docker_size_profile_allows_what_it_names():
    pid, persona = answers(PROFILE, (GETPID,), (PERSONALITY, 0xFFFFFFFF))
    assert pid > 0
    assert persona >= 0


def test_docker_size_profile_says_that_clone3_does_not_exist():
    assert answers(PROFILE, (CLONE3, 0, 0)) == [-errno.ENOSYS]


def test_docker_size_profile_says_that_newer_calls_do_not_exist():
    assert answers(PROFILE, (NEWER,)) == [-errno.ENOSYS]


@pytest.mark.parametrize(("family", "answer"), [(38, -errno.EPERM), (40, -errno.EPERM), (39, -errno.EINVAL), (9999, -errno.EAFNOSUPPORT)])
def test_docker_size_profile_looks_at_the_family_of_a_socket(family, answer):
    # Type 99 does not exist: what the filter lets through fails in the kernel's own way.
    (got,) = answers(PROFILE, (SOCKET, family, 99, 0))
    assert got == answer or (answer != -errno.EPERM and got in (-errno.EINVAL, -errno.EAFNOSUPPORT))


@pytest.mark.parametrize("above", [0, 1 << 32, 0xFFFFFFFF << 32], ids=["int", "a bit above", "all bits above"])
def test_default_of_minidocker_looks_at_the_family_as_the_kernel_does(above):
    # Type 99 does not exist: EPERM is the filter's.
    found = answers(default_profile(()), *((SOCKET, above | family, 99, 0) for family in range(48)))
    assert [family for family, got in enumerate(found) if got == -errno.EPERM] == [38, 40]


def test_errno_is_the_one_asked_for():
    assert answers(deny("getcwd", "SCMP_ACT_ERRNO", errnoRet=errno.EXFULL), (GETCWD, 0, 0)) == [-errno.EXFULL]


def test_log_lets_the_call_through():
    assert answers(deny("getcwd", "SCMP_ACT_LOG"), (GETCWD, 0, 0)) == [-errno.ERANGE]


def test_trace_without_a_tracer_is_enosys():
    assert answers(deny("getcwd", "SCMP_ACT_TRACE"), (GETCWD, 0, 0)) == [-errno.ENOSYS]


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_killing_actions_kill_by_sigsys(action):
    assert in_child(deny("getcwd", action), lambda: [call(GETCWD, 0, 0)]) == (None, signal.SIGSYS)


def killed_thread():
    """Calls getcwd in a second thread, and waits until it has gone."""
    thread = threading.Thread(target=call, args=(GETCWD, 0, 0), daemon=True)
    thread.start()
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()
    return "the first thread lives"


def test_kill_kills_the_thread_and_kill_process_all():
    assert in_child(deny("getcwd", "SCMP_ACT_KILL"), killed_thread) == ("the first thread lives", None)
    assert in_child(deny("getcwd", "SCMP_ACT_KILL_PROCESS"), killed_thread) == (None, signal.SIGSYS)


def test_kernel_takes_the_flags():
    flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    assert answers({**deny("getcwd", "SCMP_ACT_ERRNO"), "flags": flags}, (GETCWD, 0, 0)) == [-errno.EPERM]


def test_short_list_keeps_its_errno_for_old_calls():
    # openat (257) is above all that it names, and long known.
    names = ["read", "write", "exit_group", "rt_sigaction", "rt_sigreturn", "brk", "mmap", "munmap", "futex", "close"]
    short = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}
    assert answers(short, (257, 0, 0, 0), (NEWER,)) == [-errno.EPERM, -errno.ENOSYS]
