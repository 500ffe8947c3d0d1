"""A certificate on the disk that another program renews, as the last look found it.

A renewal writes several files, one after the other. What does not fit is refused only when it stays so, and is then
reported once. Refuses to give a certificate that no server can use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from changeover.kit.certificates import fault_of

SETTLED = 2.0
"""Seconds until a certificate and a key that do not fit are refused: a renewal writes one after the other."""


def read(files: Sequence[Path]) -> tuple[str, str]:
    """The text of the files, and why no server can use it: one of both is empty.

    An expired one can be used: an edge that starts with it is better than none.
    """
    text, fault = _text(files)
    fault = fault or fault_of(text)
    return ("", fault) if fault else (text, "")


def _text(files: Sequence[Path]) -> tuple[str, str]:
    try:
        return "".join(f"{file.read_text(encoding='utf-8').strip()}\n" for file in files), ""
    except OSError as error:
        return "", f"{error.filename} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return "", "it is not text in PEM"


@dataclass
class _Seen:
    text: tuple[str, str]
    fault: str
    since: float
    reported: bool = False


class CertificateFiles:
    """What the last look at each found."""

    def __init__(self) -> None:
        self._seen: dict[Path, _Seen] = {}

    def usable(self, files: Sequence[Path], now: float) -> tuple[str, str]:
        """The text of the files, empty where no server can use it; and once, in words, that they are refused."""
        text = _text(files)
        seen = self._seen.get(files[0])
        if seen is None or seen.text != text:
            seen = self._seen[files[0]] = _Seen(text, text[1] or fault_of(text[0], now), now)
        if not seen.fault:
            return text[0], ""
        if seen.reported or now - seen.since < SETTLED:
            return "", ""
        seen.reported = True
        return "", (
            f"the renewed certificate {files[0]} is not served: {seen.fault}. The earlier one goes on. Write a "
            "certificate and the key that belongs to it"
        )
