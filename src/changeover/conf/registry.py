"""Every reader. A new one is one module with `recognises` and `read`, and one line here.

A file is recognised by its content; its name helps where the content leaves a doubt. The first reader that recognises
a file reads it, so those with the narrower sign come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from changeover.conf import (
    chain,
    compose,
    dockerfile,
    envoy,
    google,
    gunicorn,
    haproxy,
    hcl,
    kong,
    supervisord,
    systemd,
)
from changeover.conf.document import Document
from changeover.conf.nginx import reader as nginx


@dataclass(frozen=True)
class Reader:
    """`recognises` never raises; `read` raises Unreadable and nothing else. Both get the text and the file's name."""

    name: str
    recognises: Callable[[str, str], bool]
    read: Callable[[str, str], tuple[Document, ...]]


NGINX = Reader("nginx", nginx.recognises, nginx.read)
READERS: tuple[Reader, ...] = (
    # Before the others: a startup script in a heredoc holds whole files of theirs.
    Reader("Terraform", hcl.recognises, hcl.read),
    Reader("systemd unit", systemd.recognises, systemd.read),
    Reader("supervisord", supervisord.recognises, supervisord.read),
    Reader("HAProxy", haproxy.recognises, haproxy.read),
    Reader("Envoy: bootstraps and files of its discovery (YAML, JSON)", envoy.recognises, envoy.read),
    Reader("Dockerfile", dockerfile.recognises, dockerfile.read),
    Reader("chain file of changeover", chain.recognises, chain.read),
    Reader("docker-compose", compose.recognises, compose.read),
    Reader("settings of gunicorn", gunicorn.recognises, gunicorn.read),
    Reader(
        "Google Cloud: gcloud describe and list (JSON, YAML), Config Connector, terraform show -json",
        google.recognises,
        google.read,
    ),
    Reader("Kong: kong.conf, KONG_* variables, declarative configuration, decK", kong.recognises, kong.read),
    NGINX,
)


def reader_of(text: str, file: str) -> Reader | None:
    """The reader for this text; None if no reader knows its format."""
    return next((reader for reader in READERS if reader.recognises(text, file)), None)
