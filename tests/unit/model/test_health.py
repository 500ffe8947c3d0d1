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


@pytest.mark.parametrize("headers", [{"Content-Length": "1"}, {"connection": "close"}, {"X": "a\nb"}, {"a b": "c"}])
def test_headers_that_a_check_cannot_send_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Health.model_validate({"headers": headers})


def test_no_text_of_it_shows_a_header() -> None:
    asked = Health.model_validate({"headers": {"Authorization": "hunter2"}})
    assert "hunter2" not in f"{asked} {asked!r} {asked.question('/')!r}"
