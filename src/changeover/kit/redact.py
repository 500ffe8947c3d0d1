"""Remove secrets from texts: addresses that contain tokens, values of variables, credentials in URLs.

The position of the token differs between services: the path, the password, the query, and often the host. So every
part of the address that is long enough counts as a secret.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

SHOWN = "***"
SHORTEST = 4
"""Characters of the shortest part to remove. Shorter ones occur in many words and are no secrets."""
SHORTEST_VALUE = 6
"""Characters of the shortest value of a variable to remove: `8080`, `info` and `true` stand in many messages."""
_SEPARATORS = re.compile(r"[/:@?&=#,;\s]+")

_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#@]+@")
_PASSWORDS = re.compile(r"://[^\s/?#@:]*:([^\s/?#@]+)@")


def hide_credentials(text: str) -> str:
    """Remove user and password from every URL in a text."""
    return _CREDENTIALS.sub(SHOWN + "@", text)


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
        self._compile()

    def learn_value(self, value: str) -> None:
        """Add a value as a whole, each of its lines, and the passwords of its URLs: a driver that refuses one may quote
        it alone. What is shorter than SHORTEST_VALUE says too little."""
        known = len(self._secrets)
        passwords = _PASSWORDS.findall(value)
        pieces = (value, *value.splitlines(), *passwords, *map(unquote, passwords))
        self._secrets |= {piece for piece in pieces if len(piece) >= SHORTEST_VALUE}
        if len(self._secrets) > known:
            self._compile()

    def _compile(self) -> None:
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._pattern.sub(SHOWN, text)
