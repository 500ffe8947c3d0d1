"""After each test no process is left, and no message, error or log line contains TOKEN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.hooks.staging import TOKEN, Stage
from tests.process.web_server import WebServer, web_server


@pytest.fixture
def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    caplog.set_level(1)
    stage = Stage(tmp_path)
    yield stage
    assert stage.left_running() == []
    texts = [*(event.text for event in stage.progress), *stage.errors, caplog.text, *capfd.readouterr()]
    assert [text for text in texts if TOKEN in text] == []


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server
