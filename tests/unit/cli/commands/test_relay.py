"""What `changeover relay` believes where its options name nothing."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from changeover.cli.commands.relay import relay

LOOPBACK = ["127.0.0.0/8", "::1/128"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of every process that a command became."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: found.append(json.loads(words[-1])))
    return found


@pytest.mark.parametrize(
    ("given", "believed"),
    [
        ({}, LOOPBACK),
        ({"proxy_protocol": True}, []),  # there the peers are the clients that the PROXY headers name
        ({"trusted_peers": ["10.0.0.0/8"]}, ["10.0.0.0/8"]),
        ({"trusted_peers": ["10.0.0.0/8"], "proxy_protocol": True}, ["10.0.0.0/8"]),
    ],
)
def test_forwarded_headers_pass_from_this_machine_alone(
    started: list[dict[str, Any]], given: dict[str, Any], believed: list[str]
) -> None:
    relay("127.0.0.1:1", **given)
    assert started[0]["trusted_peers"] == believed


def test_a_proxy_header_is_taken_from_this_machine_alone(started: list[dict[str, Any]]) -> None:
    relay("127.0.0.1:1", proxy_protocol=True)
    relay("127.0.0.1:1", proxy_protocol=True, proxies=["10.0.0.0/8"])
    assert [options["proxies"] for options in started] == [LOOPBACK, ["10.0.0.0/8"]]
