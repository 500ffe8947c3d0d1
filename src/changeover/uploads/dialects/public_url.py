"""The URL by which clients reach the uploads, which differs from the path that a server sees behind a proxy.

`base_url` states it; otherwise the forwarded fields of a trusted proxy do (RFC 7239, or X-Forwarded-*); otherwise it is
the path of the request, which is correct whatever host name and scheme the proxies in front have. Refuses the forwarded
fields of any other peer: a client could direct another client's bytes to a server of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urlsplit

UNIX = "unix"
"""As a trusted proxy: every peer that connects over a Unix socket."""

_SAFE = "/:@!$&'()*+,;=~-._"
"""Characters of a path that need no encoding (RFC 3986, section 3.3)."""
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9:@!$&'()*+,;=~._%-]+)*/?")
_PAIR = re.compile(r"""\s*([A-Za-z]+)=(?:"([^"]*)"|([^\s;,"]*))\s*""")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class _Forwarded:
    """What a proxy states of the request that it received. Empty: not stated."""

    scheme: str = ""
    host: str = ""
    port: str = ""
    prefix: str = ""


class PublicUrl:
    """Raises ValueError if a setting cannot be used.

    `base_url`: scheme, host and the prefix that a proxy strips. `base_path`: path of the uploads, if it is not that of
    the request. `trusted_proxies`: addresses and networks, or `unix`, whose forwarded fields are used.
    """

    def __init__(self, base_url: str = "", base_path: str = "", trusted_proxies: Sequence[str] = ()) -> None:
        if isinstance(trusted_proxies, str):
            raise ValueError("trusted_proxies is a list of addresses, not one text")
        parts = urlsplit(base_url)
        is_usable = (
            parts.scheme in _DEFAULT_PORTS and _HOST.fullmatch(parts.netloc) and not parts.query + parts.fragment
        )
        if base_url and not is_usable:
            raise ValueError(f"base_url must be like https://example.com or https://example.com/api, not {base_url!r}")
        if base_path and not base_path.startswith("/"):
            raise ValueError(f"base_path must begin with a slash, not {base_path!r}")
        self._base_url = parts._replace(path=quote(parts.path.rstrip("/"), _SAFE + "%")).geturl() if base_url else ""
        self._base_path = quote(base_path.rstrip("/"), _SAFE + "%")
        self._unix = UNIX in trusted_proxies
        self._networks = [_network(each) for each in trusted_proxies if each != UNIX]

    @property
    def needs_peer(self) -> bool:
        """Whether it uses forwarded fields."""
        return self._unix or bool(self._networks)

    def base(self, root: str, peer: str | None, scheme: str, headers: Mapping[str, str]) -> str:
        """The URL of the uploads, without a final slash: a URL, or a path.

        `root`: path of the request up to the uploads, decoded. `peer`: address of the other end of the connection; None
        for a Unix socket. `headers` by lower-case name.
        """
        path = self._base_path or quote(root.rstrip("/"), _SAFE)
        if self._base_url:
            return self._base_url + path
        if not self._trusts(peer):
            return path
        found = _forwarded(headers, self._trusts)
        host = found.host or (headers.get("host", "") if found != _Forwarded() else "")
        scheme = found.scheme or scheme
        if not _HOST.fullmatch(host) or scheme not in _DEFAULT_PORTS:
            return found.prefix + path
        if found.port not in ("", _DEFAULT_PORTS[scheme]) and not re.search(r":\d+$", host):
            host += f":{found.port}"
        return f"{scheme}://{host.removesuffix(':' + _DEFAULT_PORTS[scheme])}{found.prefix}{path}"

    def _trusts(self, peer: str | None) -> bool:
        if peer is None or peer == "":
            return self._unix
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if address.version == 6 and address.ipv4_mapped is not None:  # of a socket for both versions
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"a trusted proxy is an address, a network or {UNIX!r}, not {text!r}: {error}") from None


def _forwarded(headers: Mapping[str, str], trusts: Callable[[str | None], bool]) -> _Forwarded:
    """Of the outermost trusted proxy: a client may have sent whatever is to the left of that in each field."""
    if "forwarded" in headers:
        elements = [
            {found[1].lower(): found[2] or found[3] for found in map(_PAIR.fullmatch, element.split(";")) if found}
            for element in headers["forwarded"].split(",")
        ]
        hops = _hops([_address(each.get("for", "")) for each in elements], trusts)
        element = elements[max(0, len(elements) - hops)]
        stated = _Forwarded(element.get("proto", "").lower(), element.get("host", ""))
    else:
        hops = _hops([_address(each) for each in headers.get("x-forwarded-for", "").split(",")], trusts)
        names = ("proto", "host", "port")
        scheme, host, port = (_nth_from_right(headers.get(f"x-forwarded-{name}", ""), hops) for name in names)
        stated = _Forwarded(scheme.lower(), host, port if port.isascii() and port.isdigit() else "")
    prefix = _nth_from_right(headers.get("x-forwarded-prefix", ""), hops)
    usable = _PREFIX.fullmatch(prefix) is not None and not prefix.startswith("//")
    return replace(stated, prefix=prefix.rstrip("/") if usable else "")


def _hops(clients: list[str], trusts: Callable[[str | None], bool]) -> int:
    """The number of trusted proxies that have added to the list of their clients."""
    hops = 1
    while hops < len(clients) and trusts(clients[-hops] or "none"):
        hops += 1
    return hops


def _nth_from_right(text: str, number: int) -> str:
    """An element of a list; the first of a list that has fewer, because a proxy may replace a field."""
    elements = [each.strip() for each in text.split(",")]
    return elements[max(0, len(elements) - number)]


def _address(node: str) -> str:
    """The address of a node: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`."""
    node = node.strip().strip('"')
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
