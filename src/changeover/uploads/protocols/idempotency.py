"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) of a request. Refuses a key that cannot be compared."""

from __future__ import annotations

import re

from changeover.uploads.protocols.errors import MalformedField

_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_BARE = re.compile(r"[!#-+\--:<-~]{1,255}")


def read(text: str) -> str:
    """The key: a string (RFC 9651, section 3.3.3), or the bare text that most clients send. Raises MalformedField."""
    text = text.strip()
    if (found := _STRING.fullmatch(text)) is not None:
        return re.sub(r"\\(.)", r"\1", found[1])
    if _BARE.fullmatch(text):
        return text
    raise MalformedField('Idempotency-Key must be one quoted string of 1 to 255 characters, such as "8e03978e-40d5"')
