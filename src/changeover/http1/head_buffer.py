"""The bytes of a connection between two bodies: finds where the next head ends, however the head is cut.

The work is linear in the bytes: a head that arrives byte by byte costs no more than one that arrives at once. Refuses
a head over the bound, and one whose first byte no head begins with, such as that of a TLS handshake: its sender would
wait for an answer until the head times out.
"""

from __future__ import annotations

from changeover.http1.head import MAX_HEAD, BadHead

_END = b"\r\n\r\n"
_FIRST_BYTES = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""Those of a token (RFC 9110, section 5.6.2): a method, or `HTTP`."""


class HeadBuffer:
    """Empty lines before a head are dropped (RFC 9112, section 2.2)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0
        """Bytes that hold no end of a head."""
        self._dropped = 0
        """Bytes of empty lines before this head."""

    @property
    def begun(self) -> bool:
        """Whether a part of a head is here."""
        return bool(self._data)

    def add(self, data: bytes) -> None:
        self._data += data

    def head(self) -> bytes | None:
        """Take the next head with its empty line; None: more bytes are needed. Raises BadHead."""
        data = self._data
        while data.startswith(b"\r\n"):
            del data[:2]
            self._dropped += 2
        if self._dropped > MAX_HEAD:
            raise BadHead(431, f"more than {MAX_HEAD} bytes of empty lines precede the head")
        if not data or data == b"\r":
            return None
        if data[0] not in _FIRST_BYTES:
            raise BadHead(400, "the connection carries no HTTP/1.1: no head begins with this byte")
        end = data.find(_END, max(0, self._searched - len(_END) + 1))
        size = len(data) if end < 0 else end + len(_END)
        if size > MAX_HEAD:
            raise BadHead(431, f"the head has more than {MAX_HEAD} bytes")
        if end < 0:
            self._searched = size
            return None
        head = bytes(memoryview(data)[:size])
        del data[:size]
        self._searched = self._dropped = 0
        return head

    def take_rest(self) -> bytes:
        """Take everything that follows the last head."""
        rest = bytes(self._data)
        self._data.clear()
        self._searched = 0
        return rest
