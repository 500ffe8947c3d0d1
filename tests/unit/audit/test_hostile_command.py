"""The command on hostile input, as the kernel accounts its process: 5 s of CPU and 300 MB, and a clear refusal.

A second of CPU does less where the machine is slower, or other work fills its caches. So the bound is of a machine on
which `OBJECTS` takes `OBJECTS_CPU` seconds, and grows where it takes longer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SITE = "server { listen 80; location / { proxy_pass http://a; } }\n"
SERVICE = 'resource "google_compute_backend_service" "a" {\n'
BOMB = "_format_version: '3.0'\na0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
CPU, MEMORY = 5.0, 300_000_000
OBJECTS_CPU = 0.6
OBJECTS = "[{str(n): [n]} for n in range(600_000)]"
"""What an auditor does most: it makes objects, in memory that the kernel gives it."""
COMMAND = (sys.executable, "-m", "changeover", "audit")


def huge(folder: Path) -> None:
    with (folder / "huge.conf").open("wb") as file:
        file.write(b"http {\n" + SITE.encode() * 1000)
        file.truncate(100_000_000)


def circle(folder: Path) -> None:
    (folder / "a.conf").write_text("http { include b.conf; }", encoding="utf-8")
    (folder / "b.conf").write_text("include c.conf;", encoding="utf-8")
    (folder / "c.conf").write_text("include b.conf;", encoding="utf-8")


def link(folder: Path) -> None:
    (folder / "root").mkdir()
    (folder / "root/nginx.conf").write_text("http { include secret.conf; }", encoding="utf-8")
    (folder / "secret.conf").write_text(SITE, encoding="utf-8")
    (folder / "root/secret.conf").symlink_to(folder / "secret.conf")


def holding(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()

    def write(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return write


HOSTILE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a file of 100 MB": (huge, "huge.conf", "larger than 2 MB"),
    "deep nesting, nginx": (holding("a.conf", "http {" + "a {" * 300_000), "a.conf", "nested"),
    "deep nesting, JSON": (holding("a.json", '{"kind": "compute#a", "a": ' + '{"a": ' * 200_000), "a.json", "nested"),
    "deep nesting, YAML": (holding("a.yml", "_format_version: '3.0'\na: " + "[" * 200_000), "a.yml", "nested"),
    "deep nesting, Terraform": (holding("a.tf", f"{SERVICE}x = {'[' * 200_000}"), "a.tf", "a.tf"),
    "a circle of includes": (circle, "a.conf", "circle"),
    "a link out of the root": (link, "root", "out of the given folders"),
    "a YAML bomb": (holding("a.yml", BOMB), "a.yml", "aliases make it larger"),
    "duplicate keys": (holding("a.yml", "_format_version: '3.0'\nservices: []\nservices: []\n"), "a.yml", "twice"),
    "NUL": (holding("a.conf", b"http {\n\0" + SITE.encode() + b"}"), "a.conf", "NUL"),
    "invalid UTF-8": (holding("a.conf", b"http {\n# \xff\xfe\n" + SITE.encode() + b"}"), "a.conf", "not valid UTF-8"),
    "UTF-16 JSON": (holding("a.json", '{"kind": "compute#a"}'.encode("utf-16")), "a.json", "UTF-16"),
    "more directives than a file may have": (
        holding("a.conf", "http {\n" + SITE * 17_000 + "}"),
        "a.conf",
        "directives",
    ),
}


MEASURE = """\
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=2)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]))
"""
"""In a process of its own: to the kernel, the peak of a process includes that of the one that started it, and the tests
take more than the command."""


def measured(folder: Path, *command: str) -> tuple[int, str, float, float]:
    """Exit code, output, seconds of CPU and peak memory in bytes."""
    words = (sys.executable, "-I", "-S", "-c", MEASURE, *command)
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    code, cpu, memory = json.loads(done.stdout)
    return code, done.stderr, cpu, memory


def allowed_cpu(folder: Path) -> float:
    _, _, cpu, _ = measured(folder, sys.executable, "-I", "-S", "-c", OBJECTS)
    return CPU * max(1.0, cpu / OBJECTS_CPU)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_refused_clearly_within_its_time_and_memory(name: str, tmp_path: Path) -> None:
    write, given, reason = HOSTILE[name]
    write(tmp_path)
    code, text, cpu, memory = measured(tmp_path, *COMMAND, given)
    assert (code, "Traceback" in text) == (2, False), text[-2000:]
    assert reason in text
    assert cpu < allowed_cpu(tmp_path)
    assert memory < MEMORY


def test_a_file_at_its_limit_of_directives_is_judged_within_that_time_and_memory(tmp_path: Path) -> None:
    servers = "".join(
        f"server {{ listen {n}; location / {{ proxy_pass http://10.0.{n % 250}.1; }} }}\n" for n in range(12_490)
    )
    (tmp_path / "a.conf").write_text("http {\n" + servers + "}\n", encoding="utf-8")
    code, text, cpu, memory = measured(tmp_path, *COMMAND, "a.conf")
    assert code == 1, text[-2000:]
    assert cpu < allowed_cpu(tmp_path)
    assert memory < MEMORY
