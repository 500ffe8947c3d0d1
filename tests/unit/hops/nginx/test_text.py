"""Edits of nginx configuration move no line."""

from __future__ import annotations

from changeover.hops.nginx.text import edited


def test_edits_are_made_from_the_front_and_what_is_put_at_one_place_keeps_its_order() -> None:
    assert edited("abc", [(2, 3, "Z"), (0, 0, "1"), (0, 0, "2"), (1, 2, "")]) == "12aZ"
