"""`multipart/form-data` (RFC 7578), as a browser sends a form: where its file lies in the body, and its other fields.

Read piece by piece, whatever the size of the file, by python-multipart. Refuses a second file, a form without file, a
file in a transfer encoding, and fields beyond the limits: no byte and no field of a form is dropped silently. A file
that the user did not choose (no name, no byte) is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from changeover.uploads.protocols.errors import MalformedField

MEDIA_TYPE = "multipart/form-data"
MAX_HEADERS = 16 * 1024
"""Bytes of the header of one part; a file name of 255 characters needs 3 kB in the longest encoding."""

_BOUNDARY = re.compile(rb"[0-9a-zA-Z'()+_,./:=? -]{0,69}[0-9a-zA-Z'()+_,./:=?-]")
_ESCAPED = re.compile(r"%(0A|0D|22)", re.IGNORECASE)
"""The three characters that browsers escape in names (HTML, section "multipart form data")."""


@dataclass(frozen=True)
class FormLimits:
    """What a form may have besides its file."""

    fields: int
    size: int
    """Bytes of all names and values together."""


@dataclass(frozen=True)
class Form:
    """A form that was read to its end."""

    start: int
    """First byte of the file in the body."""
    size: int
    """Bytes of the file."""
    name: str
    """Name of the form's field that has the file."""
    filename: str
    content_type: str
    """Empty: not stated."""
    fields: Mapping[str, str]


@dataclass
class _Part:
    start: int
    header: dict[str, bytes] = field(default_factory=dict)
    name: str = ""
    filename: str | None = None
    """None: a field."""
    value: bytes = b""
    size: int = 0


class FormReader:
    """Takes the body of a form piece by piece. Raises MalformedField."""

    def __init__(self, content_type: str, limits: FormLimits) -> None:
        # Here and not above: no relay needs it, and an application without forms does not pay for it.
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        self._parse_options, self._parser_error = parse_options_header, FormParserError
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedField(f"Content-Type {content_type!r} has no boundary of 1 to 70 characters")
        self._delimiter = b"--" + boundary
        events: Any = {
            "on_part_begin": self._begin,
            "on_header_field": partial(self._add_header, "_key"),
            "on_header_value": partial(self._add_header, "_text"),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, events, max_header_size=MAX_HEADERS)
        self._limits = limits
        self._key, self._text = b"", b""
        self._position = 0
        """Bytes that the parser has taken."""
        self._part: _Part | None = None
        self._in_file = False
        self._file: _Part | None = None
        self._fields: dict[str, str] = {}
        self._parts, self._size = 0, 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        The parser states no positions. So it gets a file as large pieces, and everything else line by line: then a file
        begins where the parser stands when the header of its part ends.
        """
        view = memoryview(data)
        begin = 0
        while begin < len(data):
            if self._ended:
                return
            end = self._end_of_line(data, begin)
            if self._in_file and begin:  # in the first line a delimiter may end that began in the last piece
                found = data.find(self._delimiter, begin)
                end = len(data) if found < 0 else found if found > begin else end
            self._take(bytes(view[begin:end]))
            begin = end

    @staticmethod
    def _end_of_line(data: bytes, begin: int) -> int:
        return data.find(b"\n", begin) + 1 or len(data)

    def finish(self) -> Form:
        """The form, after the last piece."""
        if not self._ended:
            raise MalformedField("the form ends before its last boundary")
        if self._file is None:
            raise MalformedField("the form has no file")
        file = self._file
        content_type = _text(file.header.get("content-type", b""))
        return Form(file.start, file.size, file.name, file.filename or "", content_type, self._fields)

    def _take(self, data: bytes) -> None:
        self._position += len(data)  # before the call: the header of a part ends with the last byte of a line
        try:
            self._parser.write(data)
        except self._parser_error as error:
            raise MalformedField(f"the form is malformed: {error}") from error

    # -- what the parser calls ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._part = _Part(0)
        self._parts += 1
        if self._parts > self._limits.fields + 1:
            raise MalformedField(f"the form has more than {self._limits.fields} fields besides its file")

    def _add_header(self, kind: str, data: bytes, start: int, end: int) -> None:
        setattr(self, kind, getattr(self, kind) + data[start:end])

    def _end_header(self) -> None:
        assert self._part is not None
        self._part.header[self._key.decode("latin-1").lower()] = self._text
        self._key, self._text = b"", b""

    def _end_headers(self) -> None:
        part = self._part
        assert part is not None
        part.start = self._position
        kind, options = self._parse_options(part.header.get("content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise MalformedField("a part of the form has no Content-Disposition: form-data with a name")
        part.name = _name(options[b"name"])
        if b"filename" not in options:
            self._count(len(options[b"name"]))
            return
        part.filename = _name(options[b"filename"])
        self._in_file = True
        encoding = part.header.get("content-transfer-encoding", b"binary").strip().lower()
        if encoding not in (b"binary", b"8bit", b"7bit"):
            raise MalformedField(f"the file is in the transfer encoding {_text(encoding)}; send its bytes (RFC 7578)")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        assert part is not None
        part.size += end - start
        if part.filename is None:
            self._count(end - start)
            part.value += data[start:end]
        elif self._file is not None:
            raise MalformedField("the form has more than one file; send each of them in a form of its own")

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limits.size:
            raise MalformedField(f"the fields of the form have more than {self._limits.size} bytes")

    def _end_part(self) -> None:
        part = self._part
        assert part is not None
        self._part, self._in_file = None, False
        if part.filename is None:
            if part.name in self._fields:
                raise MalformedField(f"the form has more than one field {part.name!r}")
            self._fields[part.name] = _text(part.value)
        elif part.filename or part.size:
            if self._file is not None:
                raise MalformedField("the form has more than one file; send each of them in a form of its own")
            self._file = part

    def _end(self) -> None:
        self._ended = True


def _name(raw: bytes) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), _text(raw))


def _text(raw: bytes) -> str:
    """Browsers send UTF-8 unless a page asks for something else."""
    return raw.decode("utf-8", "replace")
