"""A journal as SQL text, as the fixtures keep it: `python -m tests.unit.engine.journal.dump journal.db`.

SQLite's own dump, with the format, which that leaves out.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path


def dump(file: Path) -> str:
    db = sqlite3.connect(file)
    try:
        (version,) = db.execute("pragma user_version").fetchone()
        return "\n".join([f"pragma user_version = {version};", *db.iterdump()]) + "\n"
    finally:
        db.close()


def restore(text: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(file)
    try:
        db.executescript(text)
    finally:
        db.close()


if __name__ == "__main__":
    sys.stdout.write(dump(Path(sys.argv[1])))
