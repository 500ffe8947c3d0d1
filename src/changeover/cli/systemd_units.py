"""The systemd units of a chain on a production host. Pure text.

Two units, because they end for different reasons. The chain's own one starts it (`up`) and stops it (`down`), and
systemd watches no process of it: an instance that dies is the keeper's matter. The keeper's runs the keeper in the
foreground and restarts it. Neither kills an instance when it fails, is restarted or is upgraded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NOFILE = 65536
"""Open files of each process: HAProxy takes two for a connection, and has up to 8,192 of these by default."""
SPARE = 60.0
"""Seconds of a start or a stop beside what the chain file bounds: load balancer, certificates, and a slow disk."""


@dataclass(frozen=True)
class Host:
    """Where a chain runs. `command`: the program, as this machine starts it."""

    chain: str
    user: str
    command: Sequence[str]
    file: Path
    state: Path
    starts: float
    """Seconds within which `up` ends."""
    stops: float
    """Seconds within which `down` ends."""
    after: Sequence[str] = ()
    """Services of routers outside of the chain."""


def units(host: Host) -> dict[str, str]:
    """File name -> text."""
    chain, keeper = f"changeover-{host.chain}.service", f"changeover-{host.chain}-keeper.service"
    after = " ".join(("network-online.target", *host.after))
    state = ("--state", str(host.state))
    common = [
        f"User={host.user}",
        f"WorkingDirectory={_literal(str(host.file.parent))}",
        f"LimitNOFILE={NOFILE}",
        "# Instances live in the control groups of these units, and outlive their processes.",
        "KillMode=process",
        "OOMPolicy=continue",
        "StandardOutput=journal",
        "StandardError=journal",
    ]
    return {
        chain: _text(
            [
                "[Unit]",
                f"Description=changeover: chain {host.chain}",
                "Wants=network-online.target",
                f"After={after}",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                "# `up` ends with 0 when every instance serves, on the version that ran before a reboot.",
                "Type=oneshot",
                "RemainAfterExit=yes",
                "# 1: it serves, and a rollout or a dead instance waits for an operator or the keeper.",
                "SuccessExitStatus=1",
                f"ExecStart={_line(*host.command, 'up', '-f', str(host.file), *state)}",
                f"ExecStop={_line(*host.command, 'down', *state)}",
                "Restart=on-failure",
                "RestartSec=10",
                f"TimeoutStartSec={host.starts:.0f}",
                f"TimeoutStopSec={host.stops:.0f}",
                *common,
                "",
                "[Install]",
                "WantedBy=multi-user.target",
            ]
        ),
        keeper: _text(
            [
                "[Unit]",
                f"Description=changeover: keeper of chain {host.chain}, which replaces instances that die",
                f"After={chain}",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                "# It ends with 0 when the chain is down; the next start of the chain starts it again.",
                "Type=exec",
                f"ExecStart={_line(*host.command, 'keep', *state)}",
                "# 2: it was asked to end.",
                "SuccessExitStatus=2",
                "Restart=always",
                "RestartPreventExitStatus=0",
                "RestartSec=2",
                *common,
                "",
                "[Install]",
                f"WantedBy={chain}",
            ]
        ),
    }


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def _line(*words: str) -> str:
    """A command line, in which systemd replaces nothing."""
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    escaped = _literal(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return escaped if word and not set(word) & set(" \t\"'\\;") else f'"{escaped}"'


def _literal(text: str) -> str:
    return text.replace("%", "%%")
