"""The PROXY protocol, versions 1 and 2: the address of the client behind a balancer.

Specification: haproxy.org/download/2.9/doc/proxy-protocol.txt.
"""

from __future__ import annotations

import ipaddress
import re
import struct

from changeover.http1.head import BadHead

_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) [0-9]{1,5} [0-9]{1,5})\r\n"
)
_V1_MAX = 107
_LENGTHS = {0x1: 4, 0x2: 16}


def read(data: bytes) -> tuple[bytes, int] | None:
    """The client's address (empty: unknown) and the size of the header; None: more bytes are needed. Raises BadHead."""
    if data.startswith(_V2):
        return _read_v2(data)
    if len(data) < len(_V2) and (_V2.startswith(data) or b"PROXY ".startswith(data[:6])):
        return None
    if not data.startswith(b"PROXY "):
        raise BadHead(400, "the connection does not begin with a PROXY header")
    end = data.find(b"\n", 0, _V1_MAX) + 1
    if not end and len(data) < _V1_MAX:
        return None
    if (found := _V1.fullmatch(data[:end])) is None:
        raise BadHead(400, "the PROXY header is malformed, or does not end")
    if found[1] is None:  # UNKNOWN
        return b"", end
    kind = ipaddress.IPv4Address if found[1] == b"4" else ipaddress.IPv6Address
    try:
        source, _ = kind(found[2].decode()), kind(found[3].decode())
    except ValueError:
        raise BadHead(400, "the PROXY header has no valid address") from None
    return str(source).encode(), end


def _read_v2(data: bytes) -> tuple[bytes, int] | None:
    if len(data) < 16:
        return None
    kind, family, size = struct.unpack("!BBH", data[12:16])
    if kind >> 4 != 2 or kind & 0xF > 1:
        raise BadHead(400, "the PROXY header has an unknown version")
    if len(data) < 16 + size:
        return None
    length = _LENGTHS.get(family >> 4)
    if kind & 0xF == 0 or length is None:  # LOCAL: the balancer itself; or a family that has no address
        return b"", 16 + size
    if size < 2 * length + 4:
        raise BadHead(400, "the PROXY header is too short for its addresses")
    return str(ipaddress.ip_address(data[16 : 16 + length])).encode(), 16 + size
