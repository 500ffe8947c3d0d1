"""`changeover receive` whose files may not grow: in every dialect clients get an error, and continue afterwards."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.unit.uploads.serving import Got
from tests.unit.uploads.speaking import Ask, ContentRange, Ietf, Parts, Tus

WHOLE = os.urandom(300_000)
FIRST = 5_000
LARGEST = 100_000
"""Bytes of a file: enough for the first request, and for whatever else is written, but not for the second."""


@dataclass
class Receive:
    """The command, running."""

    process: subprocess.Popen[str]
    client: httpx.Client

    @contextmanager
    def full(self) -> Iterator[None]:
        before = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (LARGEST, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, before)

    def send(self, ask: Ask, body: bytes = b"") -> Got:
        fields = {name.replace("_", "-"): value for name, value in ask.headers.items()}
        got = self.client.request(ask.method, f"/files{ask.path}", content=body, headers=fields)
        return Got(got.status_code, got.headers, got.content)


@pytest.fixture(scope="module")
def receive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receive]:
    folder = tmp_path_factory.mktemp("uploads")
    words = [sys.executable, "-m", "changeover", "receive", "--port", "0", "--folder", str(folder)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.search(r"http://[\d.]+:\d+", process.stderr.readline())
        assert found is not None
        with httpx.Client(base_url=found[0], trust_env=False) as client:
            yield Receive(process, client)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def is_told(got: Got) -> bool:
    kind = got.headers["content-type"]
    return (got.status, kind) == (507, "application/problem+json") and "File too large" in json.loads(got.body)[
        "detail"
    ]


@pytest.mark.parametrize("dialect", [Ietf(), Tus(), ContentRange(), Parts()], ids=lambda one: type(one).__name__)
def test_no_room_is_told_and_the_upload_goes_on_from_what_was_acknowledged(receive: Receive, dialect: Any) -> None:
    def append(first: int, last: int) -> Got:
        return receive.send(dialect.append(id, first, last, len(WHOLE)), WHOLE[first:last])

    id = receive.send(dialect.create(len(WHOLE))).id
    assert append(0, FIRST).status < 400
    with receive.full():
        assert is_told(append(FIRST, len(WHOLE)))
    offset = dialect.offset(receive.send(dialect.ask(id, len(WHOLE))))
    assert FIRST <= offset < len(WHOLE)
    got = append(offset, len(WHOLE))
    if isinstance(dialect, Parts):
        got = receive.send(Ask("POST", f"/{id}/complete", {}))
    assert got.status in (200, 201, 204)
    assert receive.send(Ask("GET", f"/{id}/content", {})).body == WHOLE


def test_a_plain_upload_that_finds_no_room_is_told_so_and_can_be_sent_again(receive: Receive) -> None:
    with receive.full():
        assert is_told(receive.send(Ask("POST", "/", {}), WHOLE))
    got = receive.send(Ask("POST", "/", {}), WHOLE)
    assert got.status == 201
    assert receive.send(Ask("GET", f"/{json.loads(got.body)['id']}/content", {})).body == WHOLE
