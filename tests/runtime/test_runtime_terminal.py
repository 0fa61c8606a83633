"""Terminals: shown on the caller's in the foreground, sent to the console socket otherwise."""

import json
import os
import signal
import termios

import pytest
import support
from watching import Receiver, Screen, Terminal


@pytest.fixture
def with_terminal(bundle):
    """The bundle with a terminal and a shell on it."""
    bundle.process.update(terminal=True, args=["sh"])
    return bundle.write()


@pytest.fixture
def shell(with_terminal, pyoci):
    with Terminal(pyoci.command("run", "--bundle", with_terminal.path, pyoci.new_id()), 30, 100) as terminal:
        terminal.until("# ")
        yield terminal


def test_container_has_a_terminal_of_its_own_with_the_size_of_ours(shell):
    shell.type("tty\n")
    assert shell.until(r"(/dev/\S+)\r\n")[1] in ("/dev/pts/0", "/dev/console")


def test_console_is_the_terminal(shell):
    shell.type("test -c /dev/console && [ $(stat -c %t:%T /dev/console) = $(stat -Lc %t:%T /dev/stdin) ] && echo sa''me\n")
    shell.until("same")


def test_interrupt_ends_the_foreground_program_only(shell):
    shell.type("sh -c 'echo wai\"\"ting; exec sleep 1000'\n")
    shell.until("waiting")
    shell.type("\x03")
    shell.until("# ")
    shell.type("echo sta''tus $?\n")
    shell.until("status 130")


def test_our_terminal_is_raw_while_it_runs_and_as_before_after(shell):
    assert not termios.tcgetattr(shell.master)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    shell.type("exit 9\n")
    assert shell.status() == 9
    assert termios.tcgetattr(shell.master) == shell.mode


def test_last_words_are_shown(with_terminal, pyoci):
    with_terminal.shell("head -c 60000 /dev/zero | tr '\\0' x; echo; echo the end")
    with Terminal(pyoci.command("run", "--bundle", with_terminal.path, pyoci.new_id())) as terminal:
        shown = terminal.until(r"x{60000}\s+the end\r\n")
        assert shown and terminal.status() == 0


def test_size_follows_ours(with_terminal, pyoci):
    # busybox may lack stty: the size is read from the other side.
    with Terminal(pyoci.command("run", "--bundle", with_terminal.path, name := pyoci.new_id()), 30, 100) as terminal:
        terminal.until("# ")
        pid = json.loads((pyoci.root / name / "state.json").read_text())["pid"]
        theirs = os.open(f"/proc/{pid}/fd/0", os.O_RDWR | os.O_NOCTTY)
        assert termios.tcgetwinsize(theirs) == (30, 100)
        termios.tcsetwinsize(terminal.master, (40, 120))
        terminal.process.send_signal(signal.SIGWINCH)
        support.until(lambda: termios.tcgetwinsize(theirs) == (40, 120))
        os.close(theirs)


def test_size_of_the_config_is_that_of_a_sent_terminal(with_terminal, pyoci, tmp_path):
    with_terminal.process["consoleSize"] = {"height": 7, "width": 77}
    with_terminal.write()
    with Receiver(tmp_path / "socket") as receiver:
        pyoci.create(with_terminal, None, "--console-socket", receiver.path)
        _, master = receiver.take()
    assert termios.tcgetwinsize(master) == (7, 77)
    os.close(master)


def test_master_is_sent_to_the_console_socket_of_create(with_terminal, pyoci, tmp_path):
    with_terminal.shell("echo hello; exec sleep 1000")
    with Receiver(tmp_path / "socket") as receiver:
        name = pyoci.create(with_terminal, None, "--console-socket", receiver.path)
        payload, master = receiver.take()
    assert payload == b"/dev/ptmx" and os.isatty(master)
    pyoci.ok("start", name)
    screen = Screen(master)
    screen.until("hello")
    screen.close()


def test_master_is_sent_to_the_console_socket_of_exec(bundle, pyoci, tmp_path):
    name = pyoci.start(bundle)
    with Receiver(tmp_path / "socket") as receiver:
        pid_file = tmp_path / "pid"
        pyoci.ok("exec", "--detach", "--pid-file", pid_file, "--tty", "--console-socket", receiver.path, name, "sh", "-c", "tty; read line; echo got $line")
        _, master = receiver.take()
    screen = Screen(master)
    screen.until(r"/dev/pts/\d")
    screen.type("word\n")
    screen.until("got word")
    screen.close()
    os.waitpid(int(pid_file.read_text()), 0)


def test_console_socket_with_a_long_path_is_reached(with_terminal, pyoci, tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    here = os.open(folder, os.O_PATH)
    with Receiver(f"/proc/self/fd/{here}/socket") as receiver:
        pyoci.create(with_terminal, None, "--console-socket", folder / "socket")
        _, master = receiver.take()
    os.close(master)
    os.close(here)


def test_missing_console_socket_is_told(with_terminal, pyoci, tmp_path):
    line = pyoci.fails("create", "--console-socket", tmp_path / "none", "--bundle", with_terminal.path, pyoci.new_id())
    assert line.endswith(f"connect {tmp_path}/none: No such file or directory (ENOENT)") or "none" in line


def test_terminal_without_a_console_socket_is_refused_when_nobody_shows_it(with_terminal, pyoci):
    line = pyoci.fails("create", "--bundle", with_terminal.path, pyoci.new_id())
    assert line.endswith("process.terminal: cannot allocate tty if pyoci will detach without setting console socket")


def test_console_socket_without_a_terminal_is_refused(bundle, pyoci, tmp_path):
    with Receiver(tmp_path / "socket") as receiver:
        line = pyoci.fails("create", "--console-socket", receiver.path, "--bundle", bundle.path, pyoci.new_id())
        assert line.endswith("process.terminal: cannot use console socket if pyoci will not detach or allocate tty")
        assert receiver.is_untouched()


def test_exec_with_a_terminal_shows_it_and_gives_the_status(bundle, pyoci):
    name = pyoci.start(bundle)
    with Terminal(pyoci.command("exec", "--tty", name, "sh", "-c", "tty; exit 3")) as terminal:
        terminal.until(r"/dev/pts/\d")
        assert terminal.status() == 3
        assert termios.tcgetattr(terminal.master) == terminal.mode


def test_terminal_belongs_to_the_user_of_the_process(with_terminal, pyoci):
    with_terminal.process["user"] = {"uid": 1000, "gid": 1000}
    with_terminal.shell("stat -Lc 'owner %u' /proc/self/fd/0; echo again > /dev/console; echo done")
    with Terminal(pyoci.command("run", "--bundle", with_terminal.path, pyoci.new_id())) as terminal:
        terminal.until("owner 1000")
        terminal.until("again")
        terminal.until("done")


def test_terminal_in_a_user_namespace(open_path, pyoci):
    bundle = support.Bundle(open_path / "bundle", "sh", "-c", "tty; echo opened > /dev/console")
    bundle.add_user_namespace()
    bundle.process["terminal"] = True
    bundle.write()
    with Terminal(pyoci.command("run", "--bundle", bundle.path, pyoci.new_id())) as terminal:
        terminal.until(r"/dev/(pts/0|console)")
        terminal.until("opened")
        assert terminal.status() == 0


def test_ptmx_that_is_no_devpts_is_refused(with_terminal, pyoci):
    with_terminal.config["mounts"] = [one for one in with_terminal.config["mounts"] if one["destination"] != "/dev/pts"]
    with_terminal.write()
    line = pyoci.fails("run", "--bundle", with_terminal.path, pyoci.new_id())
    assert "process.terminal: open the terminal" in line and line.endswith("mount a devpts on /dev/pts")
