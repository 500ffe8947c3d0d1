"""Reads a configuration of the user's own with every file that belongs to it, so that a template holds all of it.

An undo must start what ran before, whatever became of the files since. So every included file is read, wherever it
lies, and every other file that the configuration names by a relative path. A file named by an absolute path, such as a
certificate that is renewed, stays where it is. Refuses files that are no text.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from typing import TypeVar

from changeover.conf.nginx.grammar import Directive, NotNginx, parse
from changeover.hops.nginx.own_tree import FILES, everything, is_fixed, key_of, main_key, shown
from changeover.hops.nginx.settings import Certificate, HttpSettings, OwnConfig, StreamSettings
from changeover.hops.nginx.text import edited, filled
from changeover.model.errors import ChangeoverError, Problem, fail

FOLDER = "CHANGEOVER_FOLDER"
"""The folder of the chain file. Filled in here: what a template runs must not depend on where a copy of it lies."""


def with_texts(config: OwnConfig, folder: Path) -> OwnConfig:
    """The same with the text of each file. `folder`: the one of the chain file. Raises ChangeoverError."""
    first = main_key(config)
    home = folder if first == normpath(config.path) else (folder / config.path).parent
    texts: dict[str, str] = {}
    parsed: set[str] = set()
    problems: list[Problem] = []

    def read(key: str, place: str, *, configuration: bool) -> None:
        if key.startswith("../"):
            next = "Move it below that folder, or name it by its absolute path."
            problems.append(Problem(f"{key} lies outside of the folder that the template keeps", place, next=next))
            return
        try:
            if key not in texts:
                texts[key] = (home / key).read_text(encoding="utf-8")
            if configuration and key not in parsed:
                parsed.add(key)
                texts[key] = _with_folder(texts[key], key, folder)
                for directive in everything(parse(texts[key], key)):
                    for found, again in _named_files(config, directive, home):
                        read(found, f"{shown(config, key)}:{directive.line}", configuration=again)
        except NotNginx as error:
            problems.append(Problem(str(error), f"{shown(config, key)}:{error.line}"))
        except OSError as error:
            problems.append(Problem(f"{shown(config, key)} cannot be read: {error.strerror}", place))
        except UnicodeDecodeError:
            next = "" if configuration else "Name it by its absolute path; nginx then reads it where it lies."
            problems.append(Problem("the file is not text in UTF-8", shown(config, key), next=next))

    read(first, "", configuration=True)
    if problems:
        raise ChangeoverError(*problems)
    return OwnConfig(path=config.path, files=dict(sorted(texts.items())))


def _with_folder(text: str, key: str, folder: Path) -> str:
    """The text with the folder of the chain file. Raises NotNginx."""
    edits = []
    for one in everything(parse(text, key)):
        for word in one.words[1:]:
            raw = text[word.start : word.end]
            if FOLDER in raw:
                edits.append((word.start, word.end, filled(raw, lambda name: str(folder) if name == FOLDER else name)))
    return edited(text, edits)


Settings = TypeVar("Settings", HttpSettings, StreamSettings)


def with_paths(settings: Settings, folder: Path, *, first: bool) -> Settings:
    """A template without a configuration of one's own: its certificate by absolute paths. Raises ChangeoverError.

    `first`: it is of the first tier. `nginx -t` checks the certificate: a chain whose certificate is lost can still be
    asked and taken down.
    """
    if not isinstance(settings, HttpSettings) or settings.tls is None:
        return settings
    if not first:
        raise fail("`tls` has an effect at the first tier alone: tiers speak plain HTTP to each other")
    if settings.tls is False:
        return settings
    paths = {"certificate": str(folder / settings.tls.certificate), "key": str(folder / settings.tls.key)}
    return settings.model_copy(update={"tls": Certificate.model_validate(paths)})


def _named_files(config: OwnConfig, directive: Directive, home: Path) -> Iterator[tuple[str, bool]]:
    """The files that belong to the template: key, and whether it is configuration."""
    if not directive.values or not is_fixed(path := directive.values[0]):
        return
    key = key_of(config, path)
    if directive.name == "include" and glob.has_magic(key):
        root = Path("/") if key.startswith("/") else home
        for found in sorted(root.glob(key.removeprefix("/"))):
            if not found.name.startswith("."):
                yield str(found if key.startswith("/") else found.relative_to(home)), True
    elif directive.name == "include":
        yield key, True
    elif directive.name in FILES and not path.startswith("/"):
        yield key, False
