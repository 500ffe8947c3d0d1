"""nginx's language as it is read: words and blocks with their places."""

from __future__ import annotations

import resource
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.conf.nginx.grammar import Directive, NotNginx, parse


def words(directives: tuple[Directive, ...]) -> list[object]:
    return [(str(one), words(one.block)) if one.block is not None else str(one) for one in directives]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("user www-data;", ["user www-data"]),
        ("events {}\nhttp { gzip on; }", [("events", []), ("http", ["gzip on"])]),
        ('log_format a "$host; \\"{x}\\"" \'it;s\';', ['log_format a $host; "{x}" it;s']),
        ("location ~ \\.php$ { return 200; }", [("location ~ \\.php$", ["return 200"])]),
        ("set $a ${b}c{d};".replace("{d}", ""), ["set $a ${b}c"]),
        ("# a { comment ;\ngzip on; # more }", ["gzip on"]),
        ("if ($a ~ x#y) { return 1; }", [("if ($a ~ x#y)", ["return 1"])]),
        ("content_by_lua_block { local t = { 'it' }; } gzip on;", [("content_by_lua_block", []), "gzip on"]),
    ],
)
def test_words_quotes_comments_and_blocks(text: str, found: list[object]) -> None:
    assert words(parse(text, "nginx.conf")) == found


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("a;\n}", "unexpected '}'", 2),
        ("a;\nhttp {\n", "a { is not closed", 3),
        ("a;\nb c", "'b' is not ended by a semicolon", 2),
        ("a;\n\n;", "unexpected ';'", 3),
        ("http { a }", "unexpected '}'", 1),
        ('a "b;\n', "a quote is not closed", 1),
        (f"a;\nb {'x' * 4097};", "a word is longer than the 4096 bytes that nginx takes", 2),
        (f"a;\nb {'é' * 2049};", "a word is longer than the 4096 bytes that nginx takes", 2),
        (f"a;\nb '{'x' * 4096}';", "a word is longer than the 4096 bytes that nginx takes", 2),
        (f"a;\nb ${{{'x' * 4096}}};", "a word is longer than the 4096 bytes that nginx takes", 2),
        ('a "' + "\\a" * 5000 + '";', "a quote is not closed within the 4096 bytes of nginx's longest word", 1),
    ],
)
def test_a_text_that_is_no_configuration_is_refused_with_its_line(text: str, what: str, line: int) -> None:
    with pytest.raises(NotNginx, match=what.replace("{", r"\{")) as refused:
        parse(text, "nginx.conf")
    assert refused.value.line == line


def test_each_directive_knows_its_line_and_each_word_its_place() -> None:
    text = 'a;\nb "c d"  e;\n'
    second = parse(text, "nginx.conf")[1]
    assert (second.line, second.column) == (2, 1)
    assert [text[word.start : word.end] for word in second.words] == ["b", '"c d"', "e"]


@given(
    st.lists(st.sampled_from(["gzip on;", "http {", "}", '"a b"', "# x\n", "\n", " ", "$a", ";", "\\;"]), max_size=12)
)
def test_any_text_is_read_or_refused_and_words_lie_where_they_say(parts: list[str]) -> None:
    text = "".join(parts)
    found: tuple[Directive, ...] = ()
    with suppress(NotNginx):
        found = parse(text, "nginx.conf")
    for one in found:
        for word in one.words:
            assert 0 <= word.start < word.end <= len(text)


def test_a_directive_knows_its_column() -> None:
    (http,) = parse("\n  http { a;\n\tb; }", "nginx.conf")
    assert (http.line, http.column) == (2, 3)
    assert [(one.line, one.column) for one in http.block or ()] == [(2, 10), (3, 2)]


def test_blocks_that_are_nested_too_deeply_are_refused() -> None:
    with pytest.raises(NotNginx, match="nested more than"):
        parse("a {" * 100_000, "nginx.conf")


@pytest.mark.parametrize("word", ["x" * 4090, "é" * 2045, "\\a" * 2045, "$" * 4090, '"' + "x" * 4090 + '"'])
def test_a_word_may_be_as_long_as_nginx_takes(word: str) -> None:
    (found,) = parse(f"a {word};", "nginx.conf")
    assert found.values[0].strip('"') == word.strip('"')


@pytest.mark.parametrize(
    "text",
    [
        f"a {'x' * 1_900_000};",
        "a " + "\\a" * 950_000 + ";",
        f'a "{"x" * 1_900_000}";',
        'a "' + "\\a" * 950_000 + '";',
        f"a {'$' * 1_900_000};",
    ],
    ids=["word", "escapes", "quote", "escapes in a quote", "dollars"],
)
def test_a_long_word_is_refused_before_it_takes_memory(text: str) -> None:
    # A regular expression takes its memory outside of tracemalloc's sight, so the process is asked.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotNginx, match="4096 bytes"):
        parse(text, "nginx.conf")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_long_string_of_lua_is_no_word_of_nginx() -> None:
    (found,) = parse('content_by_lua_block { ngx.say("' + "\\a}" * 300_000 + '") }', "nginx.conf")
    assert found.block == ()
