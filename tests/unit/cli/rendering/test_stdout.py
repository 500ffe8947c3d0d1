"""Output goes out as it is; a reader that is gone ends the command and leaves nothing to flush into a closed pipe."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from changeover.cli.exits import BROKEN_PIPE
from changeover.cli.rendering.stdout import write, write_json


def test_text_is_written_as_it_is_and_json_as_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    write("[red]no markup[/] here\n")
    write_json({"a": [1, None]})
    text, _, rest = capsys.readouterr().out.partition("\n")
    assert text == "[red]no markup[/] here"
    assert json.loads(rest) == {"a": [1, None]}


def test_a_closed_pipe_ends_the_command_and_its_last_flush_is_quiet() -> None:
    program = "from changeover.cli.rendering.stdout import write\nwhile True: write('x' * 65536)\n"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(timeout=10) == BROKEN_PIPE
