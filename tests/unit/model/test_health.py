"""What a chain file may say of the question whether an instance is ready."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from changeover.model.health import Health


def test_one_status_or_several_are_named() -> None:
    assert Health.model_validate({"status": 204}).status == (204,)
    assert Health.model_validate({"status": [200, 204]}).status == (200, 204)
    with pytest.raises(ValidationError):
        Health.model_validate({"status": []})


@pytest.mark.parametrize("asked", [{"path": "/"}, {"status": 200}, {"headers": {"A": "b"}}, {"body": "up"}])
def test_a_connection_alone_asks_nothing_else(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(asked))} has no meaning"):
        Health.model_validate({"tcp": True, **asked})


def test_an_interval_that_is_named_holds_always_and_for_each_router() -> None:
    named = Health.model_validate({"interval": "3s"})
    assert {named.pause(1), named.pause(5), named.quick, named.steady} == {3.0}


def test_without_one_routers_share_a_check_a_second_and_repeat_a_failed_one_soon() -> None:
    health = Health()
    assert [health.pause(routers) for routers in (1, 2, 4, 5)] == [1.0, 2.0, 4.0, 4.0]
    assert (health.quick, health.steady) == (0.25, 0.5)


@pytest.mark.parametrize("headers", [{"Content-Length": "1"}, {"connection": "close"}, {"X": "a\nb"}, {"a b": "c"}])
def test_headers_that_a_check_cannot_send_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Health.model_validate({"headers": headers})


def test_no_text_of_it_shows_a_header() -> None:
    asked = Health.model_validate({"headers": {"Authorization": "hunter2"}})
    assert "hunter2" not in f"{asked} {asked!r} {asked.question('/')!r}"
