"""A configuration file of the user's own in a template: its text, what is added to it, and its placeholders.

For the hops whose software has one file; nginx reads several. Refuses to know any syntax.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from changeover.model.chain import Tier
from changeover.model.config_model import ConfigModel
from changeover.model.errors import Problem, fail

PLACEHOLDER = re.compile(r"CHANGEOVER_[A-Z0-9_]+")
LISTEN, INNER, FOLDER = "CHANGEOVER_LISTEN", "CHANGEOVER_INNER", "CHANGEOVER_FOLDER"


class OwnFile(ConfigModel):
    """In a chain file it is the path; the text is read when the chain file is."""

    path: str = Field(min_length=1, description="The file as the chain file names it.")
    text: str | None = Field(None, repr=False, description="What it holds.")


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


def with_text(own: OwnFile, folder: Path, filled: Callable[[str, Mapping[str, str]], str]) -> OwnFile:
    """The same with its text, where it has none. `folder`: the one of the chain file. Raises ChangeoverError.

    `filled`: puts the value of each placeholder into a text.

    The folder is filled in here: what a template runs must not depend on where a copy of the chain file lies.
    """
    if own.text is not None:
        return own
    try:
        text = (folder / own.path).read_text(encoding="utf-8")
    except OSError as error:
        raise fail(f"{own.path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise fail("the file is not text in UTF-8", where=own.path) from error
    return own.model_copy(update={"text": filled(text, {FOLDER: str(folder)})})


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
