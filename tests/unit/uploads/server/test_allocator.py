"""The memory of received pieces is used again."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PIECES = """
import resource, sys
from pathlib import Path
from changeover.uploads import FileStore, Uploads

def faults_of_pieces() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        received = b"x" * 262_144
        body = bytearray()  # as uvicorn gathers it
        body += received
        bytes(body)
        del received, body
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults_of_pieces()
Uploads(FileStore(Path(sys.argv[1]) / "uploads"), print)
faults_of_pieces()  # the first pieces extend the heap
print(without, faults_of_pieces())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other thresholds")
def test_an_application_that_receives_uploads_does_not_fault_in_each_piece_again(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PIECES, str(tmp_path)], capture_output=True, text=True, check=True)
    without, faults = map(int, done.stdout.split())
    assert without > 100 * 64, "a page fault for each 4 KiB received"
    assert faults < 100
