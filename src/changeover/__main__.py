"""The command `changeover`, also as `python -m changeover`.

Apart from `cli/main.py` because Ctrl-C may arrive while that is imported.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    gc.disable()  # until the command is imported: modules are no garbage, and looking at them is a tenth of a start
    try:
        from changeover.cli.main import main as command
    except KeyboardInterrupt:
        from changeover.cli.exits import KEYBOARD

        sys.exit(KEYBOARD)
    command()


if __name__ == "__main__":
    main()
