"""The command `changeover`, also as `python -m changeover`.

Apart from `cli/main.py` because that takes half a second to import, and Ctrl-C may come then too.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""What a shell makes of a program that Ctrl-C has ended."""


def main() -> None:
    try:
        from changeover.cli.main import main as command
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command()


if __name__ == "__main__":
    main()
