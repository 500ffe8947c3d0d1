"""The certificate of an edge in two files, so that a renewed one is served without a reload.

A reload closes idle connections at once (nginx before 1.27.4), and each such client loses a request. But nginx reads a
certificate whose path has a variable at each handshake: first the certificate, then the key. If both are replaced
between the two, the handshake breaks. So each instance has two files, and its clock decides which one nginx reads: one
for ten seconds, then the other. A renewal replaces only the file that nginx does not read at that time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from changeover.hops.certificate_files import read
from changeover.hops.nginx.own_tree import OwnTree, everything, is_fixed
from changeover.hops.nginx.settings import Certificate, OwnConfig
from changeover.kit.files import write_whole
from changeover.model.instance import PRIVATE
from changeover.ports import CannotStart

FILES = ("even.pem", "odd.pem")
"""Certificate, chain and key, below the folder of what only an instance may read."""
PERIOD = 10.0
"""Seconds for which nginx reads one of the two files of its certificate."""
MARGIN = 3.0
"""Seconds at both ends of that in which no file is replaced: nginx looks at the clock once for several events."""
VARIABLE = "$changeover_certificate"
# $msec is `1795902034.345`. The value of a map is kept for the whole handshake, for certificate and key.
MAP = rf'map $msec {VARIABLE} {{ default {PRIVATE}/{FILES[0]}; "~[13579]\d\.\d+$" {PRIVATE}/{FILES[1]}; }}'


def files(tls: Certificate) -> tuple[Path, Path]:
    """Where the user's are: the certificate and its key."""
    return Path(tls.certificate), Path(tls.key)


def first(*files: Path) -> dict[str, str]:
    """Both files of an instance that starts. Raises CannotStart."""
    pem, fault = read(files)
    if fault:
        raise CannotStart(f"the certificate {files[0]} cannot be served: {fault}")
    return dict.fromkeys(FILES, pem)


def replace(folder: Path, pem: str, now: float) -> bool:
    """Replace what may be replaced at `now`, seconds since 1970; returns whether this was the last of both files.

    `folder`: the one of the instance. An instance of an earlier version of this program has no such files. It reads
    its certificate when it starts.
    """
    files = [folder / PRIVATE / name for name in FILES]
    try:
        old = [file.read_text() for file in files]
    except FileNotFoundError:
        return False
    idle = 1 - int(now // PERIOD) % 2
    if old[idle] == pem or not MARGIN <= now % PERIOD <= PERIOD - MARGIN:
        return False
    owner = files[idle].stat()
    write_whole(files[idle], pem, mode=0o600, owner=(owner.st_uid, owner.st_gid))
    return old[1 - idle] == pem


def named(config: OwnConfig) -> tuple[Path, ...]:
    """The certificates that a configuration of the user's own has nginx read when it starts, where they are."""
    values = (one.values[0] for one in everything(OwnTree(config).main) if one.name == "ssl_certificate" and one.values)
    return tuple(dict.fromkeys(Path(value) for value in values if is_fixed(value) and value.startswith("/")))


def renewed_since_start(certificates: Iterable[Path], folder: Path) -> list[Path]:
    """Those that were written after the instance of that folder was started."""
    with contextlib.suppress(FileNotFoundError):  # the record goes with the instance, and a file with its renewal
        started = (folder / "instance.json").stat().st_mtime
        return [one for one in certificates if one.stat().st_mtime > started]
    return []
