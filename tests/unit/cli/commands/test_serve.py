"""The options of `serve`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from changeover.cli.commands.serve import read_token
from changeover.cli.main import cli
from changeover.model.errors import ChangeoverError

TOKEN = "0123456789abcdef"


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert read_token(written(tmp_path, f"{TOKEN}\n", 0o640)) == TOKEN


@pytest.mark.parametrize("text", ["", "\n", "short", f"{TOKEN}\nsecond", f"{TOKEN} b", f"{TOKEN}é"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ChangeoverError, match="has no token"):
        read_token(written(tmp_path, text))


def test_a_token_that_every_user_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChangeoverError, match="chmod o-rwx"):
        read_token(written(tmp_path, TOKEN, 0o644))


@pytest.mark.parametrize(
    "words",
    [("--listen", "9180"), ("--listen", "localhost:99999"), ("--path-prefix", "x"), ("--path-prefix", "/a//b")],
    ids=" ".join,
)
def test_an_option_that_means_nothing_is_refused(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli, ["serve", *words]).exit_code == 2
