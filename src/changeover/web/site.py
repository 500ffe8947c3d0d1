"""What one `changeover serve` serves, as data: state folders, the path below which it does, the token of actions.

Refuses nothing: the command checks its options, and `access` every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from changeover.web.sources import Sources


@dataclass(frozen=True)
class Site:
    """`states`: the state folder of each chain, which need not exist yet. `token`: None makes the site read-only.

    `prefix`: the path below which every route lies, such as `/changeover`; empty for none. `hosts`: names of the site
    beside IP addresses and localhost.
    """

    states: Sequence[Path]
    token: str | None = None
    prefix: str = ""
    hosts: frozenset[str] = frozenset()
    sources: Sources | None = None
    """What the page reads and acts by; None: the site has no page."""
