from __future__ import annotations

from typing import Any

import pytest

from changeover.cli.options.traffic import TrafficOptions, applied
from changeover.model.errors import ChangeoverError
from changeover.model.probe import AnswerDigest, Get, Post, ProbeSettings
from changeover.probe.example import EXAMPLE


def test_without_a_path_the_page_of_the_url_is_requested_and_nothing_else() -> None:
    traffic, url = applied(TrafficOptions(), ProbeSettings(), "https://host:8443/a/b?c=d")
    assert url == "https://host:8443"
    assert (traffic.get, traffic.post) == ((Get(path="/a/b?c=d"),), ())


def test_paths_belong_to_the_path_of_the_url() -> None:
    traffic, url = applied(TrafficOptions(get=["/x"]), ProbeSettings(), "https://host/app")
    assert (traffic.get, url) == ((Get(path="/x"),), "https://host/app")


def test_a_get_takes_what_it_expects_in_the_same_word() -> None:
    word = '/shop weight=3 status=200,302 text="Add to cart" header="Accept: text/html" field=state:up'
    (get,) = applied(TrafficOptions(get=[word]), ProbeSettings())[0].get
    assert get == Get(
        path="/shop",
        weight=3,
        status=(200, 302),
        text="Add to cart",
        headers={"Accept": "text/html"},
        fields={"state": "up"},
    )


def test_an_upload_takes_the_options_of_uploads() -> None:
    options = TrafficOptions(
        post=["/in"],
        uploads=2,
        body=1e6,
        upload_time=0.5,
        method="put",
        form="file",
        digest="header=ETag algorithm=md5",
        read_back="{location}",
    )
    (post,) = applied(options, ProbeSettings())[0].post
    assert post == Post(
        path="/in",
        concurrent=2,
        body=1_000_000,
        time="500ms",
        method="PUT",
        form="file",
        digest=AnswerDigest(header="ETag", algorithm="md5"),
        read_back="{location}",
    )


def test_named_paths_replace_all_others_and_other_options_change_what_there_is() -> None:
    assert applied(TrafficOptions(get=["/x"]), EXAMPLE)[0].post == ()
    changed = applied(TrafficOptions(rate=5, uploads=1, body=10, headers=["A: b"]), EXAMPLE)[0]
    assert changed.get == EXAMPLE.get
    assert (changed.rate, changed.post[0].concurrent, changed.post[0].body) == (5, 1, 10)
    assert changed.headers == {"A": "b"}
    assert changed.timeout == EXAMPLE.timeout
    assert applied(TrafficOptions(rate=0, uploads=2), EXAMPLE)[0].get == ()
    assert applied(TrafficOptions(uploads=0), EXAMPLE)[0].post == ()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"get": ["x"]}, "--get x: path"),
        ({"get": ["/x wait=3"]}, "wait=3 is none of weight="),
        ({"get": ["/x weight=0"]}, "--get /x weight=0: weight"),
        ({"get": ["/x status=99"]}, "status"),
        ({"get": ["/x header=Connection:close"]}, "the program sets the header Connection itself"),
        ({"get": ["/x 'a"]}, "cannot be read"),
        ({"get": ["/x"], "headers": ["a"]}, "--header: a is not NAME:VALUE"),
        ({"get": ["/x"], "version_pattern": "("}, "not a regular expression"),
        ({"get": ["/x"], "form": "file"}, "--form has no effect"),
        ({"post": ["/x"], "digest": "sha256"}, "sha256 is none of field="),
        ({"post": ["/x"], "digest": "field=a header=b"}, "either in a `field`"),
        ({"post": ["/x"], "read_back": "files/{id}"}, "read_back begins with"),
        ({"post": ["/x"], "read_back": "/files/{id"}, "read_back|expected"),
        ({"post": ["/x"], "method": "GET"}, "--post /x: method"),
    ],
)
def test_an_option_that_is_wrong_or_without_effect_is_named(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ChangeoverError, match=what):
        applied(TrafficOptions(**options), ProbeSettings(), "http://x")
