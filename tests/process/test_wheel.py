"""The wheel alone, installed into an environment of its own and used outside of any clone.

The other packages come from the environment of the tests, so that nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.chain.chains import running_in, until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(folder / "dist"),
    ]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        environment / "bin/python",
        "install",
        "--no-index",
        "--no-deps",
    ]
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "--quiet", "--disable-pip-version-check", wheel], check=True, timeout=60)
    scheme = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", vars=scheme))
    others = [path for path in (*site.getsitepackages(), *sys.path) if Path(path).name == "site-packages"]
    (packages / "others.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(others)))
    return environment


def changeover(installed: Path, *words: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [installed / "bin/changeover", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done
    return done


def test_the_package_is_the_one_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import changeover; print(changeover.__file__)"
    done = subprocess.run(
        [installed / "bin/python", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).is_relative_to(installed)
    assert changeover(installed, "--version", cwd=tmp_path).stdout.startswith("changeover ")
    assert "--naive" in changeover(installed, "demo", "--help", cwd=tmp_path).stdout


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_finds_the_page_beside_the_command(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": f"{installed / 'bin'}:{os.environ['PATH']}", "MANPAGER": "cat", "LC_ALL": "C"}
    found = subprocess.run(["man", "-w", "changeover"], env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == installed / "share/man/man1/changeover.1"
    shown = subprocess.run(["man", "--warnings", "-l", found.stdout.strip()], env=environment, capture_output=True)
    assert b"changeover roll" in shown.stdout
    assert shown.stderr == b""


def test_the_demo_starts_without_a_chain_file_and_leaves_nothing_behind(installed: Path, tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    demo = subprocess.Popen(
        [installed / "bin/changeover", "demo", "--rate", "20", "--uploads", "1"],
        cwd=home,
        env={**os.environ, "TMPDIR": str(temporary), "COLUMNS": "1000"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stderr is not None
    with demo, demo.stderr:
        try:
            lines = iter(demo.stderr)
            assert f"{installed}" in next(lines)
            assert any("runtime-v1-" in line and "admitted" in line for line in lines)
        finally:
            demo.send_signal(signal.SIGINT)
        rest = demo.stderr.read()
    assert demo.returncode == 2, rest
    until(lambda: not running_in(tmp_path), "the end of the chain")
    assert list(home.iterdir()) == []
    (state,) = temporary.glob("changeover-demo-*")
    assert (state / "journal.db").exists()


def test_a_demo_whose_software_is_missing_names_all_of_it_and_leaves_no_folder(installed: Path, tmp_path: Path) -> None:
    program = (
        "import shutil, sys\nshutil.which = lambda *_, **__: None\nsys.modules['uvicorn'] = None\n"
        "from changeover.__main__ import main\nsys.argv = ['changeover', 'demo', '--json']\nmain()"
    )
    done = subprocess.run(
        [installed / "bin/python", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done
    reported = json.loads(done.stdout)["error"]
    assert len(reported) == 4
    assert f"libnginx-mod-stream haproxy && {installed}" in reported[-1]["next"]
    assert list(tmp_path.iterdir()) == []
