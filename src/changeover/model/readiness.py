"""How an instance is asked whether it may get traffic: the same question by the controller and by every router.

Data alone, and without pydantic: an instance carries it, and the agent has no memory to spare. `Health` of a chain file
has its rules. Refuses to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

USER_AGENT = "changeover"
"""Of the checks of the controller, HAProxy and Envoy, so that an application can leave them out of its log."""


@dataclass(frozen=True)
class Readiness:
    """A GET and what its answer must have, or a TCP connection.

    `path` None: where the software of the instance always answers. `body`: a text that the answer must contain.
    """

    path: str | None = None
    status: tuple[int, ...] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    body: str = ""
    tcp: bool = False

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The headers that a check sends, without Host where the chain file names none."""
        given = {"Host" if name.lower() == "host" else name: value for name, value in self.headers.items()}
        named = {name.lower() for name in given}
        return {**({} if "user-agent" in named else {"User-Agent": USER_AGENT}), **given}

    @property
    def host(self) -> str | None:
        """The Host of the request; None: any, such as the address."""
        return self.request_headers.get("Host")
