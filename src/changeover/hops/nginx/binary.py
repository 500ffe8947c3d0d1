"""The installed nginx: its path, version and modules. Refuses to guess: the meaning of a directive depends on them."""

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
class NginxBinary:
    """`stream_module` is the path to load, or None where stream is built in."""

    path: str
    version: tuple[int, ...]
    stream_module: str | None


@cache
def find() -> NginxBinary:
    """The nginx on PATH or in the sbin folders, which an ordinary user's PATH lacks. Raises ChangeoverError."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise fail("nginx is not installed", next=INSTALL)
    output = subprocess.run(
        [path, "-V"], capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10
    ).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", output)
    if version is None:
        raise fail(f"{path} does not print its version: {output.strip()[:200]}", next=INSTALL)
    return NginxBinary(path, tuple(map(int, version.groups())), _stream_module(output))


def _stream_module(output: str) -> str | None:
    if re.search(r"--with-stream(\s|$)", output):
        return None
    folder = re.search(r"--modules-path=(\S+)", output)
    module = Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    if not module.exists():
        raise fail("this nginx has no stream module, which an L4 tier needs", next=INSTALL)
    return str(module)
