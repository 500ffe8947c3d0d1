"""`scripts/run-tests`, on tests of its own: what fails beside others runs once more alone, and that is what counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts/run-tests"
GOOD = "def test_good():\n    pass\n"
SHAKY = "import os\n\ndef test_shaky():\n    assert 'PYTEST_XDIST_WORKER' not in os.environ\n"
BROKEN = "def test_broken():\n    assert False\n"


def run(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "pytest").symlink_to(Path(sys.executable).with_name("pytest"))
    for number, text in enumerate(files):
        (folder / f"test_{number}.py").write_text(text)
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}  # of this very test
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p xdist"}  # half of the time
    return subprocess.run((SCRIPT, "-n", "1"), cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_what_passes_runs_once(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD)
    assert (done.returncode, "1 passed" in done.stdout, "alone" in done.stdout) == (0, True, False)


def test_a_test_that_fails_only_beside_others_is_named_and_fails_no_run(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD, SHAKY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("SHAKY, failed beside others and passed alone:\ntest_1.py::test_shaky\n")


def test_a_test_that_fails_alone_too_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD, SHAKY, BROKEN)
    assert (done.returncode, "SHAKY" in done.stdout) == (1, False)
    assert "test_1.py::test_shaky\ntest_2.py::test_broken\n" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_where_more_than_five_fail_none_runs_again(tmp_path: Path) -> None:
    done = run(tmp_path, *[SHAKY] * 6)
    assert (done.returncode, "alone" in done.stdout) == (1, False)


def test_a_file_that_cannot_be_imported_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD, "import nothing_of_this_name\n")
    assert done.returncode not in (0, 5)
    assert "SHAKY" not in done.stdout
