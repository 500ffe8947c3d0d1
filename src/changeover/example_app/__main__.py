"""The process of the example application: `python -m changeover.example_app OPTIONS`, as `changeover app` takes them.

Apart from the command because that imports what only other commands need: a fifth of the time and half of the memory,
for every instance there is. Refuses options that it does not know.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from changeover.example_app.config import AppConfig
from changeover.example_app.server import run
from changeover.model.errors import ChangeoverError


def main() -> int:
    config = _parse(sys.argv[1:])
    try:
        run(config)
    except ChangeoverError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parse(words: list[str]) -> AppConfig:
    default = AppConfig()
    parser = argparse.ArgumentParser(prog="changeover app", allow_abbrev=False)
    parser.add_argument("--host", default=default.host)
    parser.add_argument("--port", type=int, default=default.port)
    parser.add_argument("--instance", default=default.instance)
    parser.add_argument("--version-label", dest="version", default=default.version)
    parser.add_argument("--shared", type=Path, default=default.shared)
    parser.add_argument("--lame-duck-file", type=Path, default=default.lame_duck_file)
    return AppConfig(**vars(parser.parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())
