"""Reads the files of an audit: the given ones, those in the given folders, those that an include names,
and the variables and overrides beside Terraform.

Refuses to read outside of the given folders, also through symbolic links, and never reads a special file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from changeover.conf.document import Document, UnreadPart
from changeover.conf.nginx.assemble import DEEPEST, circles, included_paths, nested
from changeover.conf.nginx.reader import NginxFile, everything
from changeover.conf.place import Place, Unreadable
from changeover.conf.registry import NGINX, reader_of
from changeover.conf.source import LARGEST, decode, too_large
from changeover.conf.terraform.syntax import BESIDE, VARIABLES, HclFile

_PASSED_OVER = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".terraform", ".venv", "site-packages", ".tox"}
_ENVIRONMENT = "pyvenv.cfg"
"""The file that marks a virtual environment of Python, whatever its name."""
_COPIES = (
    "~",
    ".orig",
    ".rej",
    ".bak",
    ".swp",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
    ".rpmsave",
    ".rpmnew",
    ".rpmorig",
)
"""Ends of the names of copies that editors, patch and package managers leave: no program loads them by itself."""
_SIGNS = "*?["
_NO_READER = "no reader recognises its format"
_LOOKED_AT = 100_000
"""Bytes of a file that is no text."""
_MOST = 20_000
"""Files of a folder that are looked at."""
_MOST_READ = 7_000
"""Files of a known format in one audit. So many, each with a server of nginx, take 260 MB and 5 to 6 s of CPU."""


@dataclass
class Loaded:
    """`texts` are those of the files that were recognised; `skipped` the others of a folder."""

    documents: list[Document] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def load(given: Sequence[Path]) -> Loaded:
    """Everything that can be read. What cannot is in `unreadable`."""
    loaded = Loaded()
    roots = [(path if path.is_dir() else path.parent).resolve() for path in given]
    for path in given:
        if path.is_dir():
            for inner in _walked(path, loaded):
                _read(inner, roots, loaded, named=False)
        elif path.exists():
            _read(path, [*roots, path.resolve()], loaded, named=True)
        else:
            loaded.unreadable.append(Unreadable("there is no such file", Place(str(path))))
    for folder in {Path(one.file).parent for one in loaded.documents if isinstance(one, HclFile) and one.blocks}:
        for path in sorted({one for pattern in BESIDE for one in folder.glob(pattern)}):
            _read(path, roots, loaded, named=path.name.endswith(VARIABLES))
    mains = [one for one in loaded.documents if isinstance(one, NginxFile) and not one.dumped]
    empty = {main.path: frozenset(_follow(main, main.path, roots, loaded)) for main in mains}
    loaded.documents = [
        replace(one, empty=empty[one.path]) if isinstance(one, NginxFile) and one.path in empty else one
        for one in loaded.documents
    ]
    loaded.unreadable += circles({one.path: one for one in loaded.documents if isinstance(one, NginxFile)})
    return loaded


def _walked(folder: Path, loaded: Loaded) -> Iterator[Path]:
    count = 0
    for at, folders, files in os.walk(folder):
        if _ENVIRONMENT in files and Path(at) != folder:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in _PASSED_OVER)
        for name in sorted(files):
            count += 1
            most = f"{_MOST:,} files" if count > _MOST else f"{_MOST_READ:,} files of known formats"
            if count > _MOST or len(loaded.texts) >= _MOST_READ:
                what = f"it holds more than {most}, and the rest was not read: name the folders within it"
                loaded.unreadable.append(Unreadable(what, Place(str(folder))))
                return
            if name.endswith(_COPIES):
                loaded.skipped.append(os.path.normpath(Path(at) / name))
            else:
                yield Path(at) / name


def _read(path: Path, roots: Sequence[Path], loaded: Loaded, *, named: bool, included: bool = False) -> list[Document]:
    """`named` by the operator, or `included` by a file of nginx, which proves its format."""
    file = os.path.normpath(path)
    if file in loaded.texts or any(one.place.file == file for one in loaded.unreadable):
        return []
    try:
        real = path.resolve()
        if not any(real == root or root in real.parents for root in roots):
            raise Unreadable("it leads out of the given folders, through a symbolic link", Place(file))
        if not real.is_file():
            raise Unreadable("it is no regular file", Place(file))
        if real.stat().st_size > LARGEST:
            raise too_large(file)
        text = _decoded(real.read_bytes(), file, named=named)
        reader = NGINX if included else reader_of(text, file)
        if reader is None:
            raise Unreadable(_NO_READER, Place(file))
        found = list(reader.read(text, file))
    except Unreadable as error:
        return _not_read(error, loaded, named)
    except (OSError, RuntimeError) as error:  # RuntimeError: symbolic links in a circle
        reason = getattr(error, "strerror", None) or "its symbolic links lead in a circle"
        return _not_read(Unreadable(reason, Place(file)), loaded, named)
    loaded.unreadable += [one.error for one in found if isinstance(one, UnreadPart)]
    found = [one for one in found if not isinstance(one, UnreadPart)]
    loaded.texts[file] = text
    loaded.skipped = [one for one in loaded.skipped if one != file]
    loaded.documents += found
    return found


def _decoded(data: bytes, file: str, *, named: bool) -> str:
    """Raises Unreadable. What is no text and not named is a picture, unless a reader recognises the rest of it."""
    try:
        return decode(data, file)
    except Unreadable:
        rest = data[:_LOOKED_AT].replace(b"\0", b"").decode(errors="replace")
        if not named and reader_of(rest, file) is None:
            raise Unreadable(_NO_READER, Place(file)) from None
        raise


def _not_read(error: Unreadable, loaded: Loaded, named: bool) -> list[Document]:
    """In a folder, a file of no known format is none of the auditor's; one of a known format always is."""
    format_known = error.what != _NO_READER and "larger" not in error.what and error.place.line
    if named or format_known:
        loaded.unreadable.append(error)
    else:
        loaded.skipped.append(error.place.file)
    return []


def _follow(file: NginxFile, main: str, roots: Sequence[Path], loaded: Loaded, depth: int = 1) -> Iterator[str]:
    """Reads what a file includes. Yields the patterns that name no file of a folder that is there to be looked at."""
    for one in everything(file.directives):
        if one.name != "include" or not one.values:
            continue
        pattern = included_paths(one.values[0], main)
        if pattern.startswith("/") and not main.startswith("/"):
            continue  # a file of the machine that it is installed on
        found = _globbed(pattern)
        if not found and _is_inside(Path(pattern).parent, roots) and any(sign in pattern for sign in _SIGNS):
            yield pattern
        if found and depth > DEEPEST:
            loaded.unreadable.append(nested(one))
            continue
        for path in found:
            for document in _read(path, roots, loaded, named=True, included=True):
                if isinstance(document, NginxFile):
                    yield from _follow(document, main, roots, loaded, depth + 1)


def _is_inside(folder: Path, roots: Sequence[Path]) -> bool:
    try:
        real = folder.resolve()
        return real.is_dir() and any(real == root or root in real.parents for root in roots)
    except (OSError, RuntimeError):
        return False


def _globbed(pattern: str) -> list[Path]:
    path = Path(pattern)
    if not any(sign in pattern for sign in _SIGNS):
        return [path] if path.exists() else []
    parent = Path(*path.parts[:-1])
    if any(sign in str(parent) for sign in _SIGNS):
        return sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor) if path.anchor else path)))
    return sorted(parent.glob(path.name)) if parent.is_dir() else []
