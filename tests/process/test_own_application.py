"""From an empty folder to a rolled application of one's own: init, validate, up, roll, down."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.chain.chains import Chain, Command, running_in, until

APP = Path(__file__).with_name("own_app.py")
COMMAND = f"{sys.executable} {APP} {{port}} {{version}}"


def test_an_own_application_is_rolled_from_an_empty_folder(tmp_path: Path) -> None:
    options = ("--app", COMMAND, "--port", 0, "--ready", "/healthz", "--size", 1)
    Command(["init", *options], tmp_path).end(0)
    Command(["validate"], tmp_path).end(0)
    chain = Chain(tmp_path, tmp_path / "chain.yaml")
    try:
        chain.up()
        assert chain.get("/").text == "v1"
        with asking(chain) as answers:
            rolled = chain.roll("app", "v2")
            until(lambda: "v2" in answers, "an answer of the new version")
        assert rolled["outcome"] == "completed"
        assert set(answers) == {"v1", "v2"}
    finally:
        chain.run("down")
    assert running_in(tmp_path) == {}


@contextmanager
def asking(chain: Chain) -> Iterator[list[str]]:
    """A client that asks without pause and retries nothing; a request that breaks is in the list as its error."""
    answers: list[str] = []
    enough = threading.Event()

    def ask() -> None:
        with chain.client() as client:
            while not enough.is_set():
                try:
                    answers.append(client.get("/").raise_for_status().text)
                except httpx.HTTPError as error:
                    answers.append(repr(error))

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield answers
    finally:
        enough.set()
        client.join(40)


def test_on_a_terminal_init_asks_and_an_empty_answer_takes_the_default(tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "changeover", "init", "--ready", "/healthz"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as init:
        os.close(theirs)
        os.write(terminal, b"gunicorn app:app\n\n\nenvoy\n3\n\n")
        assert init.stdout is not None
        printed = init.stdout.read()
    os.close(terminal)
    assert init.returncode == 0
    assert "changeover validate" in printed
    text = (tmp_path / "chain.yaml").read_text()
    for line in ("127.0.0.1:8443", "kind: nginx", "kind: envoy", "size: 3", "path: /healthz", '[gunicorn, "app:app",'):
        assert line in text
