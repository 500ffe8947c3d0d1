"""How a client can spell the control paths of a chain: a pattern for the first tier that reads HTTP, which answers 404.

Servers behind decode `%72`, and some join slashes and resolve dot segments, so each spelling must be recognised before
any of them reads it. The pattern has the syntax that Python and RE2 share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SLASH = "(?:/|%2[fF])"
_DOT = r"(?:\.|%2[eE])"
_SLASHES = f"{_SLASH}+(?:{_DOT}{_SLASH}+)*"
"""`//` and `/./` are one slash to many servers."""
_UP = f"(?:.*{_SLASH}{_DOT}{{2}})?"
"""`/x/../readyz`: with a `..` before it, the end of a path alone decides. No client sends such a path by itself."""


def spellings(paths: Iterable[str]) -> str:
    """A pattern of whole paths, without query: every spelling of one of `paths`."""
    return "|".join(f"{_UP}{_spellings(path)}" for path in paths)


def _spellings(path: str) -> str:
    return "".join(_SLASHES if character == "/" else _character(character) for character in path)


def _character(character: str) -> str:
    """The character, and its percent-encoding in either case."""
    encoded = "".join(f"%{_hex(byte >> 4)}{_hex(byte & 15)}" for byte in character.encode())
    return f"(?:{re.escape(character)}|{encoded})"


def _hex(digit: int) -> str:
    text = f"{digit:x}"
    return text if text.isdigit() else f"[{text}{text.upper()}]"
