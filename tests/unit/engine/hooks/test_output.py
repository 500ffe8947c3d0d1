"""The output of a hook in a message: harmless to a terminal, cut to a readable length, marked where it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.engine.hooks.output import MAX_CHARACTERS, MAX_LINES, end_of, plain, start_of, with_output


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in plain(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("one\rtwo", "one\ntwo"),
        ("a\x00b", "a?b"),
        ("  \n text \n", "text"),
    ],
)
def test_escape_sequences_are_removed_and_controls_replaced(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_short_text_is_shown_whole_without_empty_lines() -> None:
    assert end_of("first\n\nlast", cut=False) == start_of("first\n\nlast", cut=False) == "first\nlast"


def test_a_text_that_was_cut_before_is_marked() -> None:
    assert end_of("last", cut=True) == "[…]\nlast"
    assert start_of("first", cut=True) == "first\n[…]"


def test_of_many_lines_the_last_or_the_first_are_shown() -> None:
    text = "\n".join(f"line {number}" for number in range(100))
    assert end_of(text, cut=False).splitlines() == ["[…]", *(f"line {n}" for n in range(100 - MAX_LINES, 100))]
    assert start_of(text, cut=False).splitlines() == [*(f"line {n}" for n in range(MAX_LINES)), "[…]"]


def test_of_a_long_line_the_last_or_the_first_characters_are_shown() -> None:
    text = "a" + "x" * 2 * MAX_CHARACTERS + "z"
    assert end_of(text, cut=False) == "[…]\n" + "x" * (MAX_CHARACTERS - 1) + "z"
    assert start_of(text, cut=False) == "a" + "x" * (MAX_CHARACTERS - 1) + "\n[…]"


def test_a_message_shows_the_output_indented_or_none() -> None:
    assert with_output("It passed", "a\nb") == "It passed. Its output:\n    a\n    b"
    assert with_output("It passed", "") == "It passed"
