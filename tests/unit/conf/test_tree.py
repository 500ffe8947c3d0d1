"""YAML and JSON with places: what is read, and what is refused."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.conf.place import Unreadable
from changeover.conf.tree import Map, parse


def test_each_key_and_value_has_its_place() -> None:
    (tree,) = parse("a:\n  b: [1, 'x']\n  c: yes\n", "f")
    assert isinstance(tree, Map)
    inner = tree.items["a"]
    assert isinstance(inner, Map)
    assert (inner.keys["b"].line, inner.keys["b"].column) == (2, 3)
    assert tree.number("a", "b", 0) == 1
    assert tree.text("a", "b", 1) == "x"
    assert tree.flag("a", "c") is True
    assert tree.text("a", "b", 2) is tree.text("a", "none") is tree.text("a") is None


def test_json_with_tabs_is_read() -> None:
    (tree,) = parse('{\n\t"a": {\n\t\t"b": null}}', "f")
    assert tree.get("a", "b") is not None
    assert tree.text("a", "b") is None


def test_merged_keys_give_way_to_own_ones() -> None:
    _, tree = parse("a: 1\n---\nx: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n", "f")
    assert (tree.number("y", "a"), tree.number("y", "b")) == (1, 3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: a is given twice, first on line 1"),
        ("a: [", "this is not YAML"),
        ("a: *b", "undefined alias|names nothing"),
        ("[" * 5000, "nested|not YAML"),
        ("- " * 5000, "nested|not YAML"),
        ("? [a]\n: b", "cannot be a key"),
        ("a: '{{ b }}'", "f:1: the file is a template"),
        ("x: 1\na: {{ b }}", "f:2: the file is a template"),
        ("{% if a %}\na: 1", "is a template"),
        (
            "a: &a [x, x, x, x]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
            "aliases make it larger",
        ),
    ],
)
def test_what_no_reader_may_guess_about_is_refused(text: str, what: str) -> None:
    start = time.process_time()
    with pytest.raises(Unreadable, match=what):
        parse(text, "f")
    assert time.process_time() - start < 2


def test_a_template_of_docker_in_quotes_is_text() -> None:
    (tree,) = parse('tag: "{{.Name}}"', "f")
    assert tree.text("tag") == "{{.Name}}"


@given(st.text(alphabet="a:-[]{},&*<>'\"#\n\t |!%?1", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Unreadable):
        parse(text, "f")
