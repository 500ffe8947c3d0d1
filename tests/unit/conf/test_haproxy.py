"""The reader of HAProxy: words, defaults, times, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from changeover.conf.haproxy import Section, read, seconds
from changeover.conf.place import Unreadable


def sections(text: str) -> dict[str, Section]:
    (document,) = read(text, "haproxy.cfg")
    return {f"{one.kind} {one.name}".strip(): one for one in document.sections}


def test_a_line_is_split_as_haproxy_splits_it() -> None:
    (line,) = sections('frontend a\n  acl up path -m beg \'/a b\' "c \\" d" e\\ f g#h # i\n')["frontend a"].lines
    assert line.words == ("acl", "up", "path", "-m", "beg", "/a b", 'c " d', "e f", "g")
    assert (line.place.line, line.place.column) == (2, 3)


def test_a_proxy_has_the_defaults_before_it_unless_it_names_others() -> None:
    found = sections(
        "defaults one\n timeout client 1s\ndefaults\n timeout client 2s\nfrontend a\nfrontend b from one\n"
        "frontend c\n timeout client 3s\nfrontend d\n no timeout client\n"
    )
    lines = {name: found[f"frontend {name}"].find("timeout", "client") for name in "abcd"}
    assert {name: line.text if line else None for name, line in lines.items()} == {
        "a": "timeout client 2s",
        "b": "timeout client 1s",
        "c": "timeout client 3s",
        "d": None,
    }


@pytest.mark.parametrize(
    ("text", "value"), [("500", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("${WAIT}", None), ("1.5s", None)]
)
def test_a_time_without_a_unit_is_in_milliseconds(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("global\n.if defined(A)\n.endif\n", 2, "depends on the machine"),
        ("global\n  log {{ log }}\n", 2, "is a template"),
        ("bind :80\n", 1, "before the first section"),
        ("frontend a\n  bind ':80\n", 2, "a quote is not closed"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(Unreadable, match=what) as refused:
        read(text, "haproxy.cfg")
    assert refused.value.place.line == line


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_accepts_the_same_configuration(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        "defaults one\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n"
        "frontend b from one\n bind 127.0.0.1:8080,:::8081\n acl up path -m beg '/a b' e\\ f # i\n default_backend c\n"
        "backend c\n server d 127.0.0.1:9 check\n"
    )
    done = subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr
    assert len(read(file.read_text(), "a")[0].sections) == 3
