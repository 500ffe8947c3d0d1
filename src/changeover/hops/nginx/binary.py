"""Which nginx is here, and what it can do. Refuses to guess: what a directive means depends on the version."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from changeover.model.errors import fail

INSTALL = "Run `make setup`, or as root: apt-get install nginx libnginx-mod-stream"


@dataclass(frozen=True)
class Binary:
    """`stream_module` is the path to load, or None where stream is built in."""

    path: str
    version: tuple[int, ...]
    stream_module: str | None


@cache
def find() -> Binary:
    """The nginx on PATH or in the sbin folders, which an ordinary user's PATH lacks. Raises ChangeoverError."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise fail("nginx is not installed", next=INSTALL)
    told = subprocess.run([path, "-V"], capture_output=True, text=True, check=True, timeout=10).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told)
    if version is None:
        raise fail(f"{path} does not say which version it is: {told.strip()[:200]}", next=INSTALL)
    return Binary(path, tuple(map(int, version.groups())), _stream_module(told))


def _stream_module(told: str) -> str | None:
    if re.search(r"--with-stream(\s|$)", told):
        return None
    folder = re.search(r"--modules-path=(\S+)", told)
    module = Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    if not module.exists():
        raise fail("this nginx has no stream module, which an L4 tier needs", next=INSTALL)
    return str(module)
