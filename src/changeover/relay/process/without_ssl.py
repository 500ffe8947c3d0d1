"""Imports asyncio without ssl: a relay has no TLS, and OpenSSL takes 4 MB.

Import it first. Modules that import ssl later (prometheus_client) get it.
"""

from __future__ import annotations

import sys

if "asyncio" not in sys.modules and "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # an ImportError, which asyncio expects
    import asyncio as asyncio

    del sys.modules["ssl"]
