"""The check of banned words finds them in prose, in names and in CLI help, and its allow-list only shrinks."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def script() -> Any:
    loader = SourceFileLoader("check_language", str(ROOT / "scripts/check-language"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module  # where dataclasses look types up
    loader.exec_module(module)
    return module


CHECK = script()


def words(text: str, name: str = "page.md") -> list[str]:
    return [one.word.lower() for one in CHECK.findings(text, name)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The client is told of it.", ["told"]),
        ("Whoever holds the lease answers.", ["whoever"]),
        ("Who comes later gets 503.", ["who"]),
        ("It depends on who asks.", []),
        ("The journal names the process of who is asked.", ["who is asked"]),
        ("# it records what\n# came of the upload", ["what\n# came of"]),
        ("Who holds the lease?", []),
        ("The controller who-ami restores the file.", []),
        ("The operator amends the plan.", []),
        ("The operator mends the plan.", ["mends"]),
        ("The client is\n│ let in.", ["is\n│ let in"]),
    ],
)
def test_a_banned_word_is_found_where_it_hides_an_actor(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_names_count_as_prose_does() -> None:
    assert words("told_line = 1\nclass ToldEvent: ...\nclass Teller: ...\n", "a.py") == ["told", "told"]


def test_tell_is_banned_as_a_name_alone() -> None:
    assert words("# A log can tell them apart.\ndef tell() -> None: ...\n", "a.py") == ["tell"]


def test_the_chinese_readme_has_words_of_its_own() -> None:
    assert words("路由者把请求转发出去", "README.zh.md") == ["路由者"]
    assert words("路由者把请求转发出去", "page.md") == []


def test_packages_that_a_benchmark_installs_are_not_checked(tmp_path: Path) -> None:
    for name in (*CHECK.FILES, "bench/a.py", "bench/peers/node_modules/b/b.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert {name for name, _ in CHECK.texts(tmp_path)} == {*CHECK.FILES, "bench/a.py"}


def test_a_file_over_its_count_fails_with_line_and_rewrite() -> None:
    text = "Fine.\nThe client is told.\n"
    first, second = CHECK.problems({"a.md": CHECK.findings(text, "a.md")}, {"a.md": text}, {})
    assert first == "a.md: 1 banned words, 0 allowed"
    assert "a.md:2: 'told' in: The client is told." in second
    assert "Rewrite it: name the act" in second


def test_a_file_under_its_count_fails_until_the_list_is_lowered() -> None:
    (line,) = CHECK.problems({}, {}, {"a.md": 2})
    assert line == "a.md: 0 banned words, 2 allowed. Lower it to 0: scripts/check-language --lower"


def test_the_list_never_grows(tmp_path: Path) -> None:
    path = tmp_path / "allowed.txt"
    assert CHECK.lower({"a.md": 2, "b.md": 0}, {}, path) is None
    assert CHECK.lower({"b.md": 2}, CHECK.read_allowed(path), path) is None  # the file was moved
    assert CHECK.lower({"b.md": 3}, CHECK.read_allowed(path), path) is not None
    assert CHECK.read_allowed(path) == {"b.md": 2}


def test_the_lower_count_is_right_after_a_merge(tmp_path: Path) -> None:
    path = tmp_path / "allowed.txt"
    path.write_text("a.md\t3\na.md\t1\nb.md\t2\n")
    assert CHECK.read_allowed(path) == {"a.md": 1, "b.md": 2}
