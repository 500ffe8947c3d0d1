"""A configuration file of the user's own in a template: its text, the files it names, its additions and placeholders.

For the hops whose software has one file; nginx reads several. Refuses to know any syntax.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from changeover.model.chain import Tier
from changeover.model.config_model import ConfigModel
from changeover.model.errors import Problem, fail
from changeover.model.instance import PRIVATE

PLACEHOLDER = re.compile(r"CHANGEOVER_[A-Z0-9_]+")
LISTEN, INNER, FOLDER = "CHANGEOVER_LISTEN", "CHANGEOVER_INNER", "CHANGEOVER_FOLDER"


class OwnFile(ConfigModel):
    """In a chain file it is the path; the text is read when the chain file is."""

    path: str = Field(min_length=1, description="The file as the chain file names it.")
    text: str | None = Field(None, repr=False, description="What it holds.")
    files: Mapping[str, str] = Field(
        {},
        repr=False,
        description="Path from the folder of an instance -> text: files that it names by relative paths.",
    )


def _by_path(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


OwnFileKey = Annotated[
    OwnFile | None,
    BeforeValidator(_by_path),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}], "default": None}),
]
"""The key of a template that names it."""


_Template = TypeVar("_Template", bound=ConfigModel)


def nothing_is_ignored(template: _Template, own: OwnFile | None, beside: frozenset[str]) -> _Template:
    """The template. Raises ValueError for keys that have no effect, as all but those in `beside`."""
    ignored = sorted(template.model_fields_set - beside)
    if own is not None and ignored:
        raise ValueError(
            f"{', '.join(ignored)} would have no effect beside `config`. Set it in {own.path}, and remove it here"
        )
    return template


@dataclass(frozen=True)
class Change:
    """What changeover adds to the user's configuration or replaces in it, and why."""

    where: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} ({self.why})"


_OF_THE_INSTANCE = frozenset({"instance.json", "lame-duck", "log", PRIVATE})
"""What an instance has in its folder whatever its software is."""


def with_text(
    own: OwnFile,
    folder: Path,
    filled: Callable[[str, Mapping[str, str]], str],
    named: Callable[[str], Iterable[str]],
) -> OwnFile:
    """The same with its text and its other files, where it has none. Raises ChangeoverError.

    `folder`: the one of the chain file. `filled`: puts the value of each placeholder into a text. `named`: the files
    that a text names. Those with a relative path belong to the template, because an undo must start what ran before;
    the others stay where they are. The folder is filled in here: what a template runs must not depend on where a copy
    of the chain file lies.
    """
    if own.text is not None:
        return own
    text = filled(_read(folder, own.path), {FOLDER: str(folder)})
    home = (folder / own.path).parent
    names = sorted({normpath(name) for name in named(text) if _is_kept(name) and (home / name).is_file()})
    for name in names:
        if name.startswith("../") or name.partition("/")[0] in _OF_THE_INSTANCE:
            raise fail(
                f"{name} has no place in the folder of an instance, where a file with a relative path is copied",
                where=own.path,
                next=f"Name it by its absolute path, or with {FOLDER}; the software then reads it where it is.",
            )
    return own.model_copy(update={"text": text, "files": {name: _read(home, name) for name in names}})


def _is_kept(name: str) -> bool:
    return bool(name) and not name.startswith("/") and PLACEHOLDER.search(name) is None


def _read(folder: Path, path: str) -> str:
    """The text as it is, also the ends of its lines: the head of an HTTP response needs them."""
    try:
        return (folder / path).read_bytes().decode()
    except OSError as error:
        raise fail(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise fail("the file is not text in UTF-8", where=path) from error


def inner_name(tier: Tier) -> str:
    """The placeholder of one of several tiers behind."""
    return f"{INNER}_{tier.name.upper().replace('-', '_')}"


def unknown_placeholders(text: str, known: Iterable[str], where: str) -> Iterator[Problem]:
    """Each one in `text` that stands for nothing."""
    known = tuple(known)
    for name in PLACEHOLDER.findall(text):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            yield Problem(f"there is no placeholder {name}", where, next=f"{hint}There are: {', '.join(known)}.")
