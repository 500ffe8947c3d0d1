"""Which process is meant: never another one of the same number, and never one that is only a zombie."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from changeover.kit import process, sockets

FOREVER = "import signal; print('up', flush=True); signal.pause()"
"""Ends by a signal only."""
FORKS = "import os, signal; os.fork(); os.write(1, b'up %d\\n' % os.getpid()); signal.pause()"


class Spawned:
    """A Python program in a folder of its own, with its output."""

    def __init__(self, folder: Path, program: str, **env: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.pid, self.started = process.spawn([sys.executable, "-c", program], home=folder, env=env)

    def lines(self, number: int) -> list[str]:
        """The first so many lines of output, once they are there."""
        while self.log.read_text().count("\n") < number:
            time.sleep(0.02)
        return self.log.read_text().splitlines()

    def ended(self) -> None:
        """Wait until it is a zombie, without taking notice of its end."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)


Run = Callable[..., Spawned]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts programs, and kills them after the test."""
    started = []

    def start(program: str, **env: str) -> Spawned:
        started.append(Spawned(tmp_path, program, **env))
        return started[-1]

    yield start
    for one in started:
        process.kill_session(one.pid, one.started, one.folder)


@pytest.fixture
def spawned(run: Run) -> Spawned:
    found = run(FOREVER)
    found.lines(1)
    return found


def test_a_process_is_known_by_its_number_and_its_start(spawned: Spawned) -> None:
    assert process.start_time(spawned.pid) == spawned.started
    assert process.is_alive(spawned.pid, spawned.started)


def test_one_of_that_number_with_another_start_is_another_and_left_alone(spawned: Spawned) -> None:
    assert not process.is_alive(spawned.pid, spawned.started - 1)
    assert not process.send(spawned.pid, spawned.started - 1, signal.SIGKILL)
    process.kill_session(spawned.pid, spawned.started - 1, spawned.folder)
    assert process.is_alive(spawned.pid, spawned.started)


def test_one_from_before_a_reboot_is_another_and_left_alone(spawned: Spawned) -> None:
    before = spawned.started ^ (1 << 50)
    assert not process.is_alive(spawned.pid, before)
    assert not process.session_alive(spawned.pid, before, spawned.folder)
    process.kill_session(spawned.pid, before, spawned.folder)
    assert process.is_alive(spawned.pid, spawned.started)


def test_a_zombie_is_dead(run: Run) -> None:
    spawned = run("")
    spawned.ended()
    assert Path(f"/proc/{spawned.pid}").exists()
    assert process.start_time(spawned.pid) is None
    assert not process.is_alive(spawned.pid, spawned.started)
    assert not Path(f"/proc/{spawned.pid}").exists(), "and its parent has taken notice"


def test_a_signal_reaches_the_process(spawned: Spawned) -> None:
    assert process.send(spawned.pid, spawned.started, signal.SIGTERM)
    spawned.ended()
    assert not process.is_alive(spawned.pid, spawned.started)
    assert not process.send(spawned.pid, spawned.started, signal.SIGTERM)


IGNORING = """
import signal, subprocess
from changeover.kit import process, sockets
{}
print(subprocess.run(["sh", "-c", "trap 'exit 7' QUIT; kill -s QUIT $$; exit 8"]).returncode)
"""


@pytest.mark.parametrize(("first", "ends"), [("process.ignore_no_signals()", "7"), ("", "8")], ids=["as here", "else"])
def test_a_signal_that_a_shell_had_us_ignore_reaches_what_is_started(first: str, ends: str) -> None:
    words = ["sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh", sys.executable, "-c", IGNORING.format(first)]
    assert subprocess.run(words, capture_output=True, text=True).stdout.strip() == ends


def test_an_unused_pid_matches_no_process() -> None:
    unused = 4_194_305  # above the largest there can be
    assert process.start_time(unused) is None
    assert not process.is_alive(unused, 0)
    assert not process.send(unused, 0, signal.SIGTERM)


def test_what_a_process_started_is_ended_with_it(run: Run, tmp_path: Path) -> None:
    spawned = run(FORKS)
    children = [int(line.split()[1]) for line in spawned.lines(2)]
    process.kill_session(spawned.pid, spawned.started, tmp_path)
    assert not process.session_alive(spawned.pid, spawned.started, tmp_path)
    assert [process.start_time(child) for child in children] == [None, None]


def test_what_a_process_started_is_found_also_after_it_has_died_itself(run: Run, tmp_path: Path) -> None:
    spawned = run(FORKS)
    (child,) = {int(line.split()[1]) for line in spawned.lines(2)} - {spawned.pid}
    assert process.send(spawned.pid, spawned.started, signal.SIGKILL)
    spawned.ended()
    assert not process.is_alive(spawned.pid, spawned.started)
    assert process.session_alive(spawned.pid, spawned.started, tmp_path)
    process.kill_session(spawned.pid, spawned.started, tmp_path)
    assert process.start_time(child) is None


def test_a_stranger_in_what_was_its_session_is_left_alone(run: Run, tmp_path: Path) -> None:
    """The number of a session whose leader is gone may be given again: only who works in its folder belongs to it."""
    spawned = run(FORKS)
    (child,) = {int(line.split()[1]) for line in spawned.lines(2)} - {spawned.pid}
    assert process.send(spawned.pid, spawned.started, signal.SIGKILL)
    spawned.ended()
    process.kill_session(spawned.pid, spawned.started, tmp_path / "elsewhere")
    assert process.start_time(child) is not None


def test_what_was_started_in_a_folder_is_found_by_it(spawned: Spawned) -> None:
    assert list(process.members_of(spawned.folder)) == [spawned.pid]
    assert list(process.members_of(spawned.folder / "elsewhere")) == []


LEAVES = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for fd in (0, 1, 2):
            os.dup2(os.open("/dev/null", os.O_RDWR), fd)
        open(os.environ["CHANGEOVER_HOME"] + "/left", "w").write(f"{os.getpid()} ")
        signal.pause()
"""
"""Becomes a daemon in the manner of the books: another session, another folder, no output."""


def test_a_daemon_that_left_session_and_folder_is_found_also_after_its_home_was_deleted(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    spawned = Spawned(home, LEAVES)
    spawned.ended()
    while not (home / "left").exists() or not (home / "left").read_text().endswith(" "):
        time.sleep(0.02)
    daemon = int((home / "left").read_text())
    assert not process.is_alive(spawned.pid, spawned.started)
    assert process.session_alive(spawned.pid, spawned.started, home)
    shutil.rmtree(home)
    assert list(process.members_of(home)) == [daemon]
    assert (daemon, home) in process.homes()
    process.kill_all_of(home)
    assert process.start_time(daemon) is None


def test_a_process_that_overwrites_its_environment_is_found_by_its_output(run: Run, tmp_path: Path) -> None:
    """As `setproctitle` does, which gunicorn and others use."""
    spawned = run(
        "import ctypes, os, signal; os.chdir('/')\n"
        "fields = open('/proc/self/stat').read().rsplit(') ', 1)[1].split()\n"
        "start, end = int(fields[47]), int(fields[48])\n"
        "ctypes.memset(start, 0, end - start)\n"
        "print('up', flush=True); signal.pause()"
    )
    spawned.lines(1)
    assert b"CHANGEOVER_HOME" not in Path(f"/proc/{spawned.pid}/environ").read_bytes()
    assert list(process.members_of(tmp_path)) == [spawned.pid]


def test_its_umask_and_limits_are_not_those_of_the_caller(tmp_path: Path) -> None:
    program = "import os, resource; print(oct(os.umask(0)), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    before = os.umask(0o077)
    try:
        for allowed, seen in ((process.OWN, "0o22"), (process.Ownership(umask=0o027, nofile=99), "0o27 99")):
            pid, start = process.spawn([sys.executable, "-c", program], home=tmp_path, env={}, allowed=allowed)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert not process.is_alive(pid, start)
            assert (tmp_path / "log").read_text().splitlines()[-1].startswith(seen)
    finally:
        os.umask(before)


def test_a_user_that_does_not_exist_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no user reel-keeper"):
        process.spawn(["true"], home=tmp_path, env={}, allowed=process.Ownership(user="reel-keeper"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as another user")
def test_a_process_runs_as_the_user_that_it_is_to_have(tmp_path: Path) -> None:
    account = pwd.getpwnam("nobody")
    allowed = process.Ownership(user="nobody")
    pid, _ = process.spawn(["sh", "-c", "id -u; id -g"], home=tmp_path, env={}, cwd=Path("/"), allowed=allowed)
    os.waitpid(pid, 0)
    assert (tmp_path / "log").read_text() == f"{account.pw_uid}\n{account.pw_gid}\n"


def test_its_output_is_added_to_its_log_and_nothing_of_our_environment_reaches_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    spawned = run("import os; print(os.environ['GREETING'], 'PATH' in os.environ)", GREETING="hello")
    assert spawned.lines(2) == ["before", "hello False"]
    spawned.ended()
    process.is_alive(spawned.pid, spawned.started)


def test_a_name_with_brackets_and_blanks_is_parsed(run: Run) -> None:
    """The name stands before the start time in /proc/PID/stat, in brackets and unquoted."""
    program = "import ctypes, signal; ctypes.CDLL(None).prctl(15, b') R 1 (x'); print('up', flush=True); signal.pause()"
    spawned = run(program)
    spawned.lines(1)
    assert process.start_time(spawned.pid) == spawned.started


def hide(monkeypatch: pytest.MonkeyPatch, hidden: Callable[[int], bool]) -> None:
    """As `hidepid=1` does: processes of other users are listed, and their files cannot be read."""

    def opened(file: str, *given: Any, **more: Any) -> Any:
        _, root, pid, name = file.split("/")
        if root == "proc" and name == "stat" and hidden(int(pid)):
            raise PermissionError(1, "Operation not permitted")
        return open(file, *given, **more)  # noqa: PTH123, SIM115

    monkeypatch.setattr(process, "open", opened, raising=False)


def test_processes_that_proc_hides_are_left_alone_and_the_session_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(FORKS)
    own = {found.pid, *(int(line.split()[1]) for line in found.lines(2))}
    hide(monkeypatch, lambda pid: pid not in own)
    assert process.is_alive(found.pid, found.started)
    process.kill_session(found.pid, found.started, found.folder)
    assert not process.session_alive(found.pid, found.started, found.folder)


def test_a_process_that_proc_hides_from_its_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as another user, by sudo for instance: it would seem dead, and would be started again and again."""
    hide(monkeypatch, lambda pid: pid != os.getpid())
    with pytest.raises(OSError, match="proc hides it") as refused:
        Spawned(tmp_path, FOREVER)
    assert "hidepid" in str(refused.value)


def test_what_cannot_be_run_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process.spawn(["/nowhere/at-all"], home=tmp_path, env={})


ACCEPTS = """
import os, socket
assert int(os.environ["LISTEN_PID"]) == os.getpid() and os.environ["LISTEN_FDS"] == "1"
assert os.read(0, 1) == b"", "its standard input is empty"
with socket.socket(fileno=3) as listener:
    print(listener.getsockname()[1], flush=True)
    listener.accept()[0].sendall(b"hello")
"""


def test_a_process_finds_its_listening_socket_as_descriptor_3_as_under_systemd(tmp_path: Path) -> None:
    with sockets.listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        pid, started = process.spawn([sys.executable, "-c", ACCEPTS], home=tmp_path, env={}, listener=listener)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            assert client.recv(100) == b"hello"
        assert (tmp_path / "log").read_text() == f"{port}\n"
    finally:
        process.kill_session(pid, started, tmp_path)


def test_an_address_that_is_taken_is_named() -> None:
    with sockets.listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"in use: '127\.0\.0\.1:{port}'"):
            sockets.listening("127.0.0.1", port)
