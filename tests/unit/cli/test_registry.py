from __future__ import annotations

import re

import pytest

from changeover.cli.main import load
from changeover.cli.registry import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_sentence_of_its_help(name: str) -> None:
    help = " ".join((load(name).help or "").split())
    first = re.match(r".*?\.(?= |$)", help)
    assert first is not None
    assert COMMANDS[name].summary == first[0]
