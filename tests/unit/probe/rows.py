"""Rows for tests, with everything that does not matter filled in."""

from __future__ import annotations

from typing import Any

from changeover.probe.records.row import LedgerRow


def row(**facts: Any) -> LedgerRow:
    """A GET that went well in 10 ms, changed by `facts`."""
    plain: dict[str, Any] = {
        "kind": "get",
        "path": "/hello",
        "scheduled": 1000.0,
        "started": 1000.0,
        "finished": 1000.01,
        "connection": "keep-alive",
        "outcome": "ok",
        "status": 200,
        "instance": "a1",
        "version": "v1",
    }
    return LedgerRow(**{**plain, **facts})
