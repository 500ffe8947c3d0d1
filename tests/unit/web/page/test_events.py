"""The events of the page: made once for all clients that saw the same look, and for few others kept."""

from __future__ import annotations

import json

from changeover.web.page.events import SHARED, Look

FIRST = Look((), {"now": "<p>1</p>", "head": "<h1>pair</h1>"})
SECOND = Look((), {"now": "<p>2</p>", "head": "<h1>pair</h1>"})


def data(event: bytes) -> object:
    return json.loads(event.decode().partition("data: ")[2])


def test_a_client_gets_all_regions_first_and_then_those_that_changed() -> None:
    assert data(FIRST.event(None)) == FIRST.regions
    assert data(SECOND.event(FIRST)) == {"now": "<p>2</p>"}
    assert SECOND.event(FIRST).startswith(f"id: {SECOND.id}\nevent: regions\n".encode())


def test_a_look_that_shows_the_same_is_no_event() -> None:
    assert FIRST.event(Look((), dict(FIRST.regions))) == b""


def test_clients_that_saw_the_same_look_share_one_event() -> None:
    assert SECOND.event(FIRST) is SECOND.event(Look((), dict(FIRST.regions)))


def test_what_clients_that_fell_behind_get_is_not_kept_for_each_of_them() -> None:
    newest = Look((), {"now": "<p>new</p>"})
    for number in range(200):
        assert newest.event(Look((), {"now": f"<p>{number}</p>"}))
    assert len(newest._events) == SHARED
