"""The page about clients shows the scripts that tests/chain/test_uploads.py runs."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("script", "language"), [("put.sh", "bash"), ("upload.mjs", "js")])
def test_the_page_shows_the_script_as_it_is(script: str, language: str) -> None:
    text = (ROOT / "tests/clients" / script).read_text()
    assert f"```{language}\n{text}```\n" in (ROOT / "docs/clients.md").read_text()
