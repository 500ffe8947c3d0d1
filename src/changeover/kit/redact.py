"""Addresses that hold tokens, taken out of texts again.

Where in an address its token stands differs from service to service, in a path, a password, a query and often where a
host would be. So every piece of it counts as secret that is long enough to be one.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

SHOWN = "***"
SHORTEST = 4
"""Characters of the shortest piece that is taken out: shorter ones are no secrets, but parts of many words."""
_SEPARATORS = re.compile(r"[/:@?&=#,;\s]+")


class Redactor:
    """Knows some secrets, and takes them out of texts."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern = re.compile(r"(?!)")

    @property
    def longest(self) -> int:
        """Bytes of the longest secret: a text that was cut may begin or end with that much of one."""
        return max((len(secret.encode(errors="replace")) for secret in self._secrets), default=0)

    def learn(self, address: str, *, open: str = "") -> None:
        """From now on take out that address, and every piece of it but its scheme and what stands in `open`."""
        _, _, rest = address.partition("://")
        pieces = {address, rest, *_SEPARATORS.split(rest), *rest.split("/"), *re.split("[/?#@]", rest)}
        pieces |= {unquote(piece) for piece in pieces}
        self._secrets |= {piece for piece in pieces if len(piece) >= SHORTEST and piece not in open}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._pattern.sub(SHOWN, text)
