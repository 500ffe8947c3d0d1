"""What a machine needs to run an agent: its systemd unit, and the lines of a startup script that install it. Pure text.

The unit runs it as a user of its own without rights, and keeps the lame-duck file while the agent is restarted. Refuses
to hold a token: the startup script fetches it from Secret Manager, because everybody on a VM can read its metadata.
"""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

import yaml

from changeover.agent.config import UNIX
from changeover.agent.settings import AgentFile

USER = "changeover-agent"
PREFIX = "/opt/changeover"
CONFIG_FILE = "/etc/changeover/agent.yaml"
UNIT_FILE = "/etc/systemd/system/changeover-agent.service"
ENVIRONMENT_FILE = "/etc/changeover/agent.env"
SECRET = "changeover-agent-token"
_RUNTIME = PurePosixPath("/run/changeover-agent")


def config_text(settings: AgentFile) -> str:
    """agent.yaml, with the keys that differ from their defaults."""
    found: str = yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
    return found


def unit(settings: AgentFile) -> str:
    """changeover-agent.service."""
    written = {PurePosixPath(file).parent for file in (settings.lame_duck_file, *settings.members.values())}
    writes = sorted(map(str, written - {_RUNTIME}))
    lines = [
        "[Unit]",
        f"Description=changeover agent: readiness, lame duck and counts of the {settings.kind} on this machine",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={PREFIX}/bin/changeover agent --config {CONFIG_FILE}",
        *([f"EnvironmentFile={ENVIRONMENT_FILE}"] if settings.token_env else []),
        "# Without an agent the load balancer takes this machine out of service.",
        "Restart=always",
        "RestartSec=1",
        f"User={USER}",
        *_groups(settings),
        "# Kept while the agent is restarted, so that a lame duck stays one; gone with a reboot.",
        "RuntimeDirectory=changeover-agent",
        "RuntimeDirectoryMode=0755",
        "RuntimeDirectoryPreserve=yes",
        *([f"ReadWritePaths={' '.join(writes)}"] if writes else []),
        *(["AmbientCapabilities=CAP_NET_BIND_SERVICE"] if int(settings.listen.rpartition(":")[2]) < 1024 else []),
        "OOMScoreAdjust=-500",
        "MemoryMax=128M",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "# AF_NETLINK: the kernel lists the connections of the software.",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _groups(settings: AgentFile) -> list[str]:
    if not settings.control.startswith(UNIX):
        return []
    socket = settings.control.removeprefix(UNIX)
    return [
        f"# {socket} must be open to this group: mode 0660.",
        f"SupplementaryGroups={settings.kind.removesuffix('-tcp')}",
    ]


def startup_lines(settings: AgentFile, version: str) -> str:
    """The lines of a startup script of Google Cloud; the first ones belong into the image."""
    folders = " ".join(sorted({str(PurePosixPath(file).parent) for file in (CONFIG_FILE, *_token_files(settings))}))
    lines = [
        "set -eu",
        "# Once, in the image:",
        f"id {USER} >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin {USER}",
        f"test -x {PREFIX}/bin/changeover || {{",
        f"  python3 -m venv {PREFIX}",
        f"  {PREFIX}/bin/pip install --quiet changeover=={version}",
        "}",
        f"install -d -m 0755 {folders}",
        f"install -m 0644 /dev/stdin {CONFIG_FILE} <<'END'",
        config_text(settings).rstrip(),
        "END",
        f"install -m 0644 /dev/stdin {UNIT_FILE} <<'END'",
        unit(settings).rstrip(),
        "END",
        *_fetches(settings),
        *_opens_key(settings),
        "systemctl daemon-reload",
        "systemctl enable --now changeover-agent.service",
    ]
    return "\n".join(lines) + "\n"


def _opens_key(settings: AgentFile) -> list[str]:
    if settings.tls is None:
        return []
    key = shlex.quote(settings.tls.key)
    return [
        "# The image or lines above bring the files of `tls`. A new certificate needs a restart of the agent.",
        f"chgrp {USER} {key}",
        f"chmod 0640 {key}",
    ]


def _token_files(settings: AgentFile) -> list[str]:
    if settings.token_file:
        return [settings.token_file]
    return [ENVIRONMENT_FILE] if settings.token_env else []


def _fetches(settings: AgentFile) -> list[str]:
    """None where certificates alone authorise."""
    return [
        line
        for file in _token_files(settings)
        for line in (
            "# At each start. The service account of the VM needs roles/secretmanager.secretAccessor for this secret.",
            f'token="$(gcloud secrets versions access latest --secret={SECRET})"',
            f'printf "%s\\n" "{"" if settings.token_file else settings.token_env + "="}$token" | '
            f"install -m 0640 -g {USER} /dev/stdin {shlex.quote(file)}",
        )
    ]
