"""The configuration of an agent's process, of plain types: its command checks what an operator wrote (`settings`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from changeover.model.instance import Address, Instance
from changeover.model.readiness import Readiness

CONFIG = "CHANGEOVER_AGENT"
"""The variable that holds the configuration of the process."""
UNIX = "unix:"


@dataclass(frozen=True)
class AgentConfig:
    """Times in seconds. Empty texts: not configured."""

    kind: str
    port: int
    """Where the software serves requests: the connections to it are counted."""
    control: str
    """`HOST:PORT` or `unix:PATH`, where it answers readiness and counts."""
    host: str = ""
    """The address that it serves requests at; empty: every address of the machine."""
    name: str = ""
    path: str | None = None
    """Where it answers readiness; None: where its kind always does. The rest is what that answer must have."""
    status: Sequence[int] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: str = ""
    tcp: bool = False
    counts_at: str = ""
    timeout: float = 2.0
    """For an answer of the software."""
    listen: str = "0.0.0.0:9180"
    lame_duck_file: str = "/run/changeover-agent/lame-duck"
    token_env: str = ""
    token_file: str = ""
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    members: dict[str, str] = field(default_factory=dict)
    """Tier behind -> the file that lists its members."""
    metadata: bool = True

    @property
    def instance(self) -> Instance:
        """The software, as hops and the kernel's witness know an instance."""
        if self.control.startswith(UNIX):
            control = Address(self.control.removeprefix(UNIX), 0)
        else:
            control = Address.parse(self.control)
        asked = Readiness(self.path, tuple(self.status), self.headers, self.body, self.tcp)
        return Instance(self.name, "", "", Address(self.host, self.port), control, readiness=asked)
