"""The PROXY protocol: whose a connection is, however the header is cut; and nothing but an address ever comes of it."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.http1 import proxy_header
from changeover.http1.head import BadHead

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack("!HH", 4000, 80)
SIX = ipaddress.ip_address("2001:db8::1").packed * 2 + struct.pack("!HH", 4000, 80)


def v2(command: int, family: int, rest: bytes, size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if size is None else size) + rest


HEADERS = {
    "version 1": (b"PROXY TCP4 192.0.2.1 192.0.2.9 4000 80\r\n", b"192.0.2.1"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::1 2001:DB8::9 4000 80\r\n", b"2001:db8::1"),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", b""),
    "UNKNOWN, with what is to be ignored": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", b""),
    "version 2": (v2(0x21, 0x11, FOUR), b"192.0.2.1"),
    "version 2, IPv6": (v2(0x21, 0x21, SIX), b"2001:db8::1"),
    "version 2, with more than addresses": (v2(0x21, 0x11, FOUR + b"\x04\0\x01x"), b"192.0.2.1"),
    "LOCAL": (v2(0x20, 0, b""), b""),
    "LOCAL, with addresses that are to be ignored": (v2(0x20, 0x11, FOUR), b""),
    "a Unix socket": (v2(0x21, 0x31, b"a" * 216), b""),
    "no family": (v2(0x21, 0, b"abc"), b""),
}


@pytest.mark.parametrize(("header", "address"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_read_when_it_is_whole_and_not_before(header: bytes, address: bytes) -> None:
    for cut in range(len(header)):
        assert proxy_header.read(header[:cut]) is None
    assert proxy_header.read(header) == (address, len(header))
    assert proxy_header.read(header + b"\r\n\r\nGET / HTTP/1.1\r\n") == (address, len(header))


BAD = {
    "another protocol": b"GET / HTTP/1.1\r\n",
    "the first byte of another protocol": b"G",
    "nearly the signature": b"\r\n\r\n\0\r\nQUIX",
    "no family": b"PROXY \r\n1234567",
    "a family nobody knows": b"PROXY TCP5 192.0.2.1 192.0.2.9 4000 80\r\n",
    "an address of the other family": b"PROXY TCP4 2001:db8::1 2001:db8::9 4000 80\r\n",
    "an address that is none": b"PROXY TCP4 192.0.2.256 192.0.2.9 4000 80\r\n",
    "a destination that is none": b"PROXY TCP4 192.0.2.1 nowhere 4000 80\r\n",
    "an address with a zone": b"PROXY TCP6 fe80::1%eth0 fe80::2 4000 80\r\n",
    "a line within an address": b"PROXY TCP6 fe80::1%a\nX-Evil:b fe80::2 4000 80\r\n",
    "no ports": b"PROXY TCP4 192.0.2.1 192.0.2.9\r\n",
    "a port that is no number": b"PROXY TCP4 192.0.2.1 192.0.2.9 http 80\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.9 4000 80\r\n",
    "a lone LF": b"PROXY UNKNOWN\n",
    "a line that does not end": b"PROXY UNKNOWN " + b"a" * 93,
    "a line that ends too late": b"PROXY UNKNOWN " + b"a" * 92 + b"\r\n",
    "version 3": v2(0x31, 0x11, FOUR),
    "a command nobody knows": v2(0x22, 0x11, FOUR),
    "too short for its addresses": v2(0x21, 0x11, FOUR[:11]),
    "too short for its addresses, IPv6": v2(0x21, 0x21, FOUR),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BadHead) as refused:
        proxy_header.read(data)
    assert refused.value.status == 400


def test_the_longest_line_is_read() -> None:
    line = b"PROXY UNKNOWN " + b"a" * 91 + b"\r\n"  # 107 bytes, says the specification
    assert proxy_header.read(line) == (b"", 107)


versions = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, SIGNATURE + b"\x21\x11\0"])


@given(versions, st.binary(max_size=60) | st.from_regex(rb"[0-9a-f.:% \r\n]{0,60}", fullmatch=True))
def test_whatever_comes_is_an_address_or_refused(beginning: bytes, data: bytes) -> None:
    try:
        told = proxy_header.read(beginning + data)
    except BadHead:
        return
    if told is not None:
        address, size = told
        assert size <= len(beginning + data)
        assert not address or str(ipaddress.ip_address(address.decode())) == address.decode()
