"""Addresses and routes of a relay's command line."""

from __future__ import annotations

import pytest

from changeover.relay.config import LOOPBACK, RoutePattern, address, hidden, is_among, networks


@pytest.mark.parametrize(
    ("text", "found"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8080", ("::1", 8080)), ("a.b:0", ("a.b", 0))]
)
def test_an_address_is_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert address(text) == found


@pytest.mark.parametrize("text", ["", "a", ":80", "a:", "a:b", "a:65536", "a:-1", "a:٣"])
def test_other_text_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="an address is needed"):
        address(text)


@pytest.mark.parametrize("text", ["", "POST", "POST upload", "/upload", "P0ST /a", "POST /a b", "POST  /a"])
def test_a_route_needs_a_method_and_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="a method and a path are needed"):
        RoutePattern.parse(text)


@pytest.mark.parametrize(
    ("path", "matches"),
    [(b"/up", True), (b"/up/", True), (b"/up/a", True), (b"/upload", False), (b"/", False), (b"/a/up", False)],
)
def test_a_route_matches_its_path_and_what_is_below_it(path: bytes, matches: bool) -> None:
    route = RoutePattern.parse("post /up")
    assert route.matches(b"POST", path) is matches
    assert not route.matches(b"PUT", path)


def test_the_root_matches_every_path() -> None:
    assert RoutePattern.parse("POST /").matches(b"POST", b"/a")


@pytest.mark.parametrize(
    ("peer", "known"),
    [
        (b"127.0.0.1", True),
        (b"::1", True),
        (b"::ffff:127.0.0.1", True),
        (b"", True),
        (b"10.0.0.1", False),
        (b"::2", False),
    ],
)
def test_a_peer_is_known_by_its_address_in_either_family(peer: bytes, known: bool) -> None:
    assert is_among(peer, networks(LOOPBACK)) is known


def test_a_hidden_path_begins_with_a_slash() -> None:
    with pytest.raises(ValueError, match="begins with a slash"):
        hidden(["readyz"])
    assert hidden([]) is None
