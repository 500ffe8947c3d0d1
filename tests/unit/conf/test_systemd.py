"""Units of systemd: sections, continued lines, times."""

from __future__ import annotations

import pytest

from changeover.conf.place import Unreadable
from changeover.conf.systemd import read, seconds


def test_each_value_has_its_section_and_its_line() -> None:
    text = (
        "# a\n[Unit]\nAfter=b\n\n[Service]\n"
        "  ExecStart=/bin/a \\\n  # a comment within\n  --flag\n;c\nKillSignal = SIGQUIT\n"
    )
    (unit,) = read(text, "a.service")
    assert [(one.section, one.key, one.value, one.place.line) for one in unit.entries] == [
        ("Unit", "After", "b", 3),
        ("Service", "ExecStart", "/bin/a --flag", 6),
        ("Service", "KillSignal", "SIGQUIT", 10),
    ]


@pytest.mark.parametrize("text", ["[Service]\nhello", "[Service]\nExecStart={{ command }}"])
def test_a_broken_or_templated_unit_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(Unreadable, match="a:2"):
        read(text, "a")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("90", 90),
        ("5min 20s", 320),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("infinity", float("inf")),
        ("2 hours", 7200),
        ("1M", 2629800),
        ("", None),
        ("soon", None),
        ("5x", None),
    ],
)
def test_times_are_read_as_systemd_reads_them(text: str, found: float | None) -> None:
    assert seconds(text) == found
