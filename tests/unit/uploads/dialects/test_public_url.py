"""The URL by which clients reach the uploads: from a setting, from trusted proxies, or the path of the request."""

from __future__ import annotations

import pytest

from changeover.uploads.dialects.public_url import PublicUrl

PROXY, STRANGER = "10.0.0.7", "192.0.2.1"
TRUSTED = PublicUrl("", "", ["10.0.0.0/8", "unix"])


def base(url: PublicUrl, headers: dict[str, str] | None = None, peer: str | None = PROXY, root: str = "/files") -> str:
    return url.base(root, peer, "http", {"host": "inside:8000", **(headers or {})})


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/files", "/files"),
        ("", ""),
        ("/files/", "/files"),
        ("/u/ann lee/files", "/u/ann%20lee/files"),
        ("/u/50%/files", "/u/50%25/files"),
        ("/u/a?b#c/files", "/u/a%3Fb%23c/files"),
        ("/u/köln/files", "/u/k%C3%B6ln/files"),
        ("/u/a@b:c,d;e=f/files", "/u/a@b:c,d;e=f/files"),
        ('/u/"<\r\n>/files', "/u/%22%3C%0D%0A%3E/files"),
    ],
)
def test_without_settings_it_is_the_encoded_path_of_the_request(root: str, expected: str) -> None:
    assert base(PublicUrl(), root=root) == expected


@pytest.mark.parametrize(
    ("base_url", "base_path", "expected"),
    [
        ("https://example.com", "", "https://example.com/files"),
        ("https://example.com/", "", "https://example.com/files"),
        ("https://example.com:8443/api/", "", "https://example.com:8443/api/files"),
        ("http://[2001:db8::1]", "", "http://[2001:db8::1]/files"),
        ("https://example.com", "/public", "https://example.com/public"),
        ("https://example.com/my files", "", "https://example.com/my%20files/files"),
        ("", "/public/", "/public"),
    ],
)
def test_a_base_url_precedes_the_path_and_a_base_path_replaces_it(base_url: str, base_path: str, expected: str) -> None:
    assert base(PublicUrl(base_url, base_path)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-forwarded-proto": "https", "x-forwarded-host": "example.com"}, "https://example.com/files"),
        ({"x-forwarded-proto": "https"}, "https://inside:8000/files"),
        ({"x-forwarded-host": "example.com"}, "http://example.com/files"),
        (
            {"x-forwarded-proto": "https", "x-forwarded-host": "example.com", "x-forwarded-port": "8443"},
            "https://example.com:8443/files",
        ),
        (
            {"x-forwarded-proto": "https", "x-forwarded-host": "example.com:8443", "x-forwarded-port": "443"},
            "https://example.com:8443/files",
        ),
        (
            {"x-forwarded-proto": "https", "x-forwarded-host": "example.com:443", "x-forwarded-port": "443"},
            "https://example.com/files",
        ),
        (
            {"x-forwarded-proto": "https", "x-forwarded-host": "example.com", "x-forwarded-prefix": "/api/"},
            "https://example.com/api/files",
        ),
        ({"x-forwarded-prefix": "/api"}, "http://inside:8000/api/files"),
        ({"forwarded": 'for=192.0.2.1;proto=https;host="example.com:8443"'}, "https://example.com:8443/files"),
        ({"forwarded": 'For="[2001:db8::1]:4711"; Proto=HTTPS; Host=example.com'}, "https://example.com/files"),
        ({}, "/files"),
    ],
)
def test_the_fields_of_a_trusted_proxy_give_it(headers: dict[str, str], expected: str) -> None:
    assert base(TRUSTED, headers) == expected
    assert base(TRUSTED, headers, peer=STRANGER) == "/files"
    assert base(TRUSTED, headers, peer=None) == expected
    assert base(TRUSTED, headers, peer="::ffff:10.0.0.7") == expected
    assert base(PublicUrl("", "", ["unix"]), headers) == "/files"
    assert base(PublicUrl("", "", ["10.0.0.0/8"]), headers, peer=None) == "/files"


@pytest.mark.parametrize("peer", ["testclient", "", "999.1.1.1"])
def test_a_peer_without_an_address_is_not_trusted(peer: str) -> None:
    url = PublicUrl("", "", ["0.0.0.0/0", "::/0"])
    assert base(url, {"x-forwarded-host": "example.com"}, peer=peer) == "/files"


def test_what_a_client_sent_to_the_outermost_trusted_proxy_is_not_used() -> None:
    lists = {
        "x-forwarded-for": "203.0.113.9, 192.0.2.1, 10.0.0.8",
        "x-forwarded-host": "evil.example, example.com, inside",
        "x-forwarded-proto": "http, https, http",
    }
    assert base(TRUSTED, lists) == "https://example.com/files"
    forged = 'for=_x;host=evil.example, for=192.0.2.1;host=example.com;proto=https, for="10.0.0.8:80";host=inside'
    assert base(TRUSTED, {"forwarded": forged}) == "https://example.com/files"


def test_a_proxy_may_replace_a_field_to_which_another_one_appends() -> None:
    headers = {
        "x-forwarded-for": "192.0.2.1, 10.0.0.8",
        "x-forwarded-host": "example.com",
        "x-forwarded-proto": "https",
    }
    assert base(TRUSTED, headers) == "https://example.com/files"


@pytest.mark.parametrize("host", ['a"b', "a/b", "a b", "user@a", "a\r\nX: y", "", "a:b", "a?b", "ä.example"])
def test_a_host_that_is_none_gives_a_path(host: str) -> None:
    assert base(TRUSTED, {"x-forwarded-proto": "https", "x-forwarded-host": host, "host": ""}) == "/files"


@pytest.mark.parametrize("prefix", ["//evil.example", "api", "/a b", "/a?b", "/a\r\nX: y", "/a//b", "/\\evil.example"])
def test_a_prefix_that_is_none_is_left_out(prefix: str) -> None:
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "example.com", "x-forwarded-prefix": prefix}
    assert base(TRUSTED, headers) == "https://example.com/files"


@pytest.mark.parametrize(
    ("base_url", "base_path", "proxies"),
    [
        ("example.com", "", ()),
        ("/files", "", ()),
        ("ftp://example.com", "", ()),
        ("https://", "", ()),
        ("https://example.com/?a", "", ()),
        ("https://[", "", ()),
        ("https://example.com:port", "", ()),
        ("https://exa mple.com", "", ()),
        ("", "files", ()),
        ("", "https://example.com/files", ()),
        ("", "", ["10.0.0.1/8"]),
        ("", "", ["proxy.example"]),
        ("", "", ["*"]),
        ("", "", "10.0.0.1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(base_url: str, base_path: str, proxies: list[str]) -> None:
    with pytest.raises(ValueError, match=r".{10}"):
        PublicUrl(base_url, base_path, proxies)
