"""Hooks in a chain file, and the payload that they receive; performing them is in tests/process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from changeover.model import chainfile
from changeover.model.errors import ChangeoverError
from changeover.model.hooks import (
    LONGEST_VARIABLE,
    Hook,
    HookPayload,
    Notify,
    PageUrl,
    Point,
    page_of,
    payload_schema,
)

PAYLOAD = HookPayload(chain="shop", rollout=7, tier="gateway", from_template="v1", to_template="v2", at=1.5)


def hook(**given: Any) -> Hook:
    return Hook.model_validate({"point": "before_tier", **given})


# -- as they are written ---------------------------------------------------------------------------------------------


def test_defaults() -> None:
    assert hook(command=["true"]).timeout == 30
    assert Notify(url="env:X").at == (Point.ON_FAILURE, Point.ON_COMPLETION, Point.ON_CRASH_LOOP)


@pytest.mark.parametrize("given", [{}, {"command": ["true"], "webhook": "http://host"}])
def test_a_hook_is_exactly_one_thing(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        hook(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"command": []},
        {"command": "rm -rf /"},
        {"command": ["a\0b"]},
        {"command": ["true"], "timeout": "0s"},
        {"command": ["true"], "timeout": 30},
        {"command": ["true"], "point": "sometime"},
        {"command": ["true"], "shell": True},
    ],
)
def test_what_a_hook_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        hook(**given)


@pytest.mark.parametrize(
    "url", ["http://host", "HTTPS://u:p@host:8443/a?b#c", "http://[::1]:80/", "https://ex\u00e4mple.org", "env:MY_URL"]
)
def test_a_webhook_is_a_web_address_or_a_variable(url: str) -> None:
    assert hook(webhook=url).webhook == url


@pytest.mark.parametrize(
    "url",
    ["", "host/path", "ftp://host", "http://", "http:///path", "http://[x", "http://a b", "env:", "env:9", "env:A-B"],
)
def test_anything_else_is_none(url: str) -> None:
    with pytest.raises(ValidationError, match="an http or https URL is needed"):
        hook(webhook=url)


@pytest.mark.parametrize("url", ["slack://a/b/c", "json://host", "mailto://a:b@c", "env:NAME"])
def test_a_receiver_of_notifications_is_an_address_or_a_variable(url: str) -> None:
    assert Notify(url=url).url == url


@pytest.mark.parametrize("url", ["", "me@example.org", "slack:a", "env:$NAME"])
def test_anything_else_cannot_be_notified(url: str) -> None:
    with pytest.raises(ValidationError, match="an Apprise URL is needed"):
        Notify(url=url)


def test_no_address_is_part_of_a_repr() -> None:
    for part in (Notify(url="slack://s3cr3t"), hook(webhook="http://h/s3cr3t"), hook(command=["curl", "s3cr3t"])):
        assert "s3cr3t" not in repr(part)


class ChainLike(BaseModel, extra="forbid"):
    """The parts of a chain that matter here."""

    hooks: tuple[Hook, ...] = ()
    notify: tuple[Notify, ...] = ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("notify: slack://s3cr3t", "notify: "),
        ("notify: [slack://s3cr3t]", "notify.0: a mapping of keys is needed"),
        ("notify: [{url: s3cr3t}]", "notify.0.url: an Apprise URL is needed"),
        ("hooks: [{point: on_failure, webhook: s3cr3t}]", "hooks.0.webhook: an http or https URL is needed"),
        ("hooks: [{point: on_failure, command: curl s3cr3t}]", "hooks.0.command: a list of the program and its"),
        ("hooks: [{point: on_failure, webhook: 'http://h/s3cr3t', command: [a]}]", "hooks.0: a hook has a command or"),
        ("hooks: [{point: on_failure, webhook: 'http://h/s3cr3t', hurl: s3cr3t}]", "hooks.0.hurl: no such key"),
    ],
)
def test_a_mistake_in_a_chain_file_does_not_repeat_what_may_be_a_token(text: str, problem: str) -> None:
    document = chainfile._Document(text, "chain.yaml", None)
    with pytest.raises(ChangeoverError) as caught:
        document.check(ChainLike, document.data, ())
    assert str(caught.value).startswith(f"chain.yaml:1: {problem}")
    assert "s3cr3t" not in str(caught.value)


# -- what they are handed --------------------------------------------------------------------------------------------


def test_the_payload_has_the_keys_of_its_schema() -> None:
    schema = payload_schema()
    assert list(PAYLOAD.data()) == list(schema["properties"]) == schema["required"]
    assert (PAYLOAD.data()["from"], PAYLOAD.data()["to"]) == ("v1", "v2")


def test_a_payload_can_be_sent_whatever_a_reason_holds() -> None:
    odd = HookPayload("shop", 7, "gateway", "v1", "v2", 1.5, reason="\ud800 \udc80 \0 é \n" + "x" * 200_000)
    assert json.loads(odd.json())["reason"] == odd.reason
    assert odd.json().isascii()
    in_environment = odd.variables()["CHANGEOVER_REASON"]
    assert "\0" not in in_environment
    assert len(in_environment.encode()) <= 4 * LONGEST_VARIABLE


def test_what_was_counted_is_not_in_the_environment() -> None:
    assert "CHANGEOVER_COUNTS" not in PAYLOAD.variables()
    assert PAYLOAD.variables()["CHANGEOVER_ROLLOUT"] == "7"


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ("https://ops.example.com", "https://ops.example.com/chains/1"),
        ("https://ops.example.com/changeover/", "https://ops.example.com/changeover/chains/1"),
        ("http://127.0.0.1:9180/chains/2", "http://127.0.0.1:9180/chains/2"),
    ],
)
def test_the_page_of_a_chain_is_a_url_of_serve(given: str, page: str) -> None:
    assert TypeAdapter(PageUrl).validate_python(given) == page
    assert page_of(page, 7) == f"{page}?rollout=7"
    assert (page_of(page, 0), page_of(None, 7)) == (page, "")


@pytest.mark.parametrize(
    "given", ["", "ops.example.com", "ftp://h/", "https://user@h/", "https://h/?a=1", "https://h/ x"]
)
def test_what_no_message_can_link_is_no_page(given: str) -> None:
    with pytest.raises(ValidationError, match="URL of a page is needed"):
        TypeAdapter(PageUrl).validate_python(given)
