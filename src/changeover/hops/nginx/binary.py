"""The installed nginx: its path, version and modules. Refuses to guess: the meaning of a directive depends on them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from changeover.model.errors import fail
from changeover.model.software import Missing, refused

_NGINX = Missing("nginx is not installed, and a tier of this chain runs it", package="nginx")
_STREAM = Missing("nginx has no stream module, which an L4 tier needs", package="libnginx-mod-stream")


@dataclass(frozen=True)
class NginxBinary:
    """`stream_module` is the path to load, or None where stream is built in, or where there is none."""

    path: str
    version: tuple[int, ...]
    stream_module: str | None
    has_stream: bool = True


def missing(*, stream: bool) -> Iterator[Missing]:
    """nginx, and for an L4 tier its stream module, where they are not installed."""
    found = _path()
    if found is None:
        yield _NGINX
    if stream and (found is None or not find().has_stream):
        yield _STREAM


@cache
def find() -> NginxBinary:
    """The nginx on PATH or in the sbin folders, which an ordinary user's PATH lacks. Raises ChangeoverError."""
    if (path := _path()) is None:
        raise refused([_NGINX])
    output = subprocess.run(
        [path, "-V"], capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10
    ).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", output)
    if version is None:
        raise fail(f"{path} does not print its version: {output.strip()[:200]}", next="Install nginx again.")
    number = tuple(map(int, version.groups()))
    if re.search(r"--with-stream(\s|$)", output):
        return NginxBinary(path, number, None)
    folder = re.search(r"--modules-path=(\S+)", output)
    module = Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    return NginxBinary(path, number, str(module) if module.exists() else None, has_stream=module.exists())


def _path() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")
