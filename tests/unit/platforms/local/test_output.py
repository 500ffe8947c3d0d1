"""What a message shows of the log of an instance: the cause as well as the end, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.platforms.local.output import words_of

GUNICORN = """[2026-11-28 12:00:00 +0000] [7] [INFO] Starting gunicorn 23.0.0
[2026-11-28 12:00:00 +0000] [8] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "arbiter.py", line 608, in spawn_worker
    worker.init_process()
ModuleNotFoundError: No module named 'flask'
[2026-11-28 12:00:00 +0000] [8] [INFO] Worker exiting (pid: 8)
[2026-11-28 12:00:00 +0000] [7] [ERROR] Worker (pid:8) exited with code 3
[2026-11-28 12:00:00 +0000] [7] [ERROR] Shutting down: Master
[2026-11-28 12:00:00 +0000] [7] [ERROR] Reason: Worker failed to boot.
"""
NODE = (
    "node:internal:1\n  throw err;\n\nError: Cannot find module 'x'\n" + "    at Module (a.js)\n" * 5 + "Node.js v18\n"
)


def words(tmp_path: Path, text: str) -> str:
    log = tmp_path / "log"
    log.write_text(text)
    return words_of(log, lambda shown: shown.replace("hunter2", "***")).replace(str(log), "LOG")


@pytest.mark.parametrize(
    ("text", "cause"), [(GUNICORN, "ModuleNotFoundError: No module named 'flask'"), (NODE, "Error: Cannot find module")]
)
def test_the_cause_is_shown_also_where_the_software_reports_more_after_it(
    tmp_path: Path, text: str, cause: str
) -> None:
    shown = words(tmp_path, text)
    assert shown.startswith(f"its log LOG ends with: {cause}")
    assert shown.endswith(text.strip().splitlines()[-1])
    assert len(shown) < 600


def test_the_last_lines_of_another_log_are_shown_as_they_are(tmp_path: Path) -> None:
    assert words(tmp_path, "one\ntwo\n\nthree\n  four\nfive") == "its log LOG ends with: two | three | four | five"
    assert words(tmp_path, "a\n" * 10 + "x" * 5000).endswith(" | " + "x" * 300)


def test_a_secret_is_not_shown_also_where_its_line_is_too_long(tmp_path: Path) -> None:
    assert "hunt" not in words(tmp_path, "x" * 296 + "hunter2" + "x" * 100)


def test_an_empty_log_is_named_too(tmp_path: Path) -> None:
    assert words(tmp_path, "\n") == "its log LOG is empty"
    assert words_of(tmp_path / "none", str) == f"its log {tmp_path / 'none'} is empty"
