"""Remove addresses that contain tokens from texts.

The position of the token differs between services: the path, the password, the query, and often the host. So every
part of the address that is long enough counts as a secret.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

SHOWN = "***"
SHORTEST = 4
"""Characters of the shortest part to remove. Shorter ones occur in many words and are no secrets."""
_SEPARATORS = re.compile(r"[/:@?&=#,;\s]+")


class Redactor:
    """Holds secrets and removes them from texts."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern = re.compile(r"(?!)")

    @property
    def longest(self) -> int:
        """Bytes of the longest secret: a text that was cut may begin or end with a part of that length."""
        return max((len(secret.encode(errors="replace")) for secret in self._secrets), default=0)

    def learn(self, address: str, *, open: str = "") -> None:
        """Add an address and each of its parts, except its scheme and the parts that occur in `open`."""
        _, _, rest = address.partition("://")
        pieces = {address, rest, *_SEPARATORS.split(rest), *rest.split("/"), *re.split("[/?#@]", rest)}
        pieces |= {unquote(piece) for piece in pieces}
        self._secrets |= {piece for piece in pieces if len(piece) >= SHORTEST and piece not in open}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._pattern.sub(SHOWN, text)
