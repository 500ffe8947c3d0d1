"""asyncio without the ssl that it takes along: a relay speaks no TLS, and has 4 MB less without OpenSSL.

To be imported before anything else is. Whoever wants ssl for itself afterwards (prometheus_client) gets it.
"""

from __future__ import annotations

import sys

if "asyncio" not in sys.modules and "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # an ImportError, which asyncio expects
    import asyncio as asyncio

    del sys.modules["ssl"]
