"""No command shows a value that may be a secret, however the chain file is broken around it.

The chain file has a marker in every such field; each test breaks the file in another way, at each of these fields.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.standing import StandingChain

from changeover import chain_files

MARKER = "48151623"
"""Also a number, as a password in a chain file easily is."""

Path_ = tuple[str | int, ...]

WHOLE: dict[str, Any] = {
    "name": "reels",
    "prometheus": {"url": f"http://u:{MARKER}@127.0.0.1:9/{MARKER}"},
    "hooks": [
        {"point": "before_tier", "command": ["true", MARKER]},
        {"point": "after_tier", "webhook": f"https://hooks.invalid/{MARKER}"},
    ],
    "notify": [{"url": f"slack://{MARKER}"}],
    "tiers": [
        {
            "name": "edge",
            "kind": "nginx",
            "templates": {"v1": {"headers": {"X-Token": MARKER}, "snippet": f"# {MARKER}"}, "v2": {}},
        },
        {
            "name": "runtime",
            "kind": "app",
            "router": {
                "kind": "kong",
                "proxy": "127.0.0.1:8000",
                "admin": [f"http://127.0.0.1:8001/{MARKER}"],
                "token_env": "KONG_TOKEN",
            },
            "templates": {
                "v1": {
                    "command": ["serve", f"--token={MARKER}"],
                    "env": {"DB_PASSWORD": MARKER, "DB_URL": f"postgres://u:{MARKER}@db"},
                    "secrets": {"KEY": {"command": ["vault", MARKER]}},
                },
                "v2": {"env": {"DB_PASSWORD": f"{MARKER}-2"}, "command": ["serve"]},
            },
        },
    ],
}


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The place of every marker, and of everything around one within its field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, position))
    elif MARKER in str(value):
        yield path


def around() -> Iterator[Path_]:
    for path in leaves(WHOLE):
        yield path
        yield path[:-1]


PLACES = list(dict.fromkeys(around()))
WRONG: list[Any] = [
    MARKER,
    int(MARKER),
    float(MARKER),
    [MARKER],
    [[int(MARKER)]],
    {"a": int(MARKER)},
    f"\0{MARKER}",
    f"{{{MARKER}}}",
    f"http://u:{MARKER}@host:port",
    f"{MARKER}\n{MARKER}",
    f"ftp://{MARKER}",
]


def broken(path: Path_, value: Any) -> str:
    whole = copy.deepcopy(WHOLE)
    at: Any = whole
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return yaml.safe_dump(whole, sort_keys=False)


COMMANDS = (("plan", "runtime", "--to", "v2"), ("roll", "runtime", "--to", "v2"), ("status",), ("up",))


def shown(chain: StandingChain, text: str, *words: str) -> str:
    """Everything that a command prints of a chain file."""
    chain.file.write_text(text, encoding="utf-8")
    ran = chain.run(*words, "-f", chain.file)
    assert ran.code in (0, 2, 4), ran
    return ran.out + ran.err


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_a_wrong_value_is_refused_without_being_shown(path: Path_, tmp_path: Path) -> None:
    chain = StandingChain(tmp_path)
    refused = 0
    for value in WRONG:
        printed = shown(chain, broken(path, value), "status")
        refused += "error: " in printed
        assert MARKER not in printed, value
    assert refused >= len(WRONG) // 3


@pytest.mark.parametrize(
    "value",
    [
        "!{0} x",
        "!!python/{0} x",
        "*{0}",
        "'{0}",
        '"{0}',
        '"\\{0}"',
        "x: {0}: y",
        "[{0}",
        "{{{0}",
        "@{0}",
        "%{0}",
        "|{0}",
        "!h!{0} x",
        "2024-13-45 {0}",
        "2024-13-{0}",
        "!!int '{0}x'",
        "!!timestamp {0}",
        "<<: {0}",
        "{0}\n\t{0}",
        "? {0}\n  : [{0}]",
    ],
)
def test_text_that_is_not_yaml_is_refused_without_being_shown(value: str, tmp_path: Path) -> None:
    text = yaml.safe_dump(WHOLE, sort_keys=False)
    for marked in (f"DB_PASSWORD: '{MARKER}'", f"X-Token: '{MARKER}'"):
        assert marked in text
        replaced = text.replace(marked, f"{marked.partition(':')[0]}: {value.format(MARKER)}", 1)
        assert MARKER not in shown(StandingChain(tmp_path), replaced, "status")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_no_command_shows_what_a_valid_chain_file_holds(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("changeover.wiring.Wired.check_software", lambda *_: None)
    monkeypatch.setattr("changeover.cli.commands.up.bring_up", _not_now)
    assert MARKER not in shown(StandingChain(tmp_path), yaml.safe_dump(WHOLE, sort_keys=False), *words)


async def _not_now(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_neither_the_chain_nor_its_settings_show_them_when_they_are_printed(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(yaml.safe_dump(WHOLE, sort_keys=False), encoding="utf-8")
    parsed, _ = chain_files.read_chain(file)
    assert MARKER not in repr(parsed)
    assert MARKER not in str(parsed.chain) + str(parsed.settings)
