"""Runs a server's coroutine on uvloop where the extra [speed] is installed, and on asyncio's own loop elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any


def run(server: Coroutine[Any, Any, None]) -> None:
    if find_spec("uvloop") is None:
        asyncio.run(server)
        return
    import uvloop

    uvloop.run(server)
