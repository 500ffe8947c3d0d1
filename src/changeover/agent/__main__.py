"""The process of an agent: `python -m changeover.agent`, with a checked configuration as JSON in its environment.

Not on its command line, which every user of the machine can read: the headers of a health check may hold a token.
Apart from the command, whose imports take as much memory as the agent may have: the command becomes this process by
execv.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from changeover.agent.access import Access, tls
from changeover.agent.config import CONFIG, AgentConfig
from changeover.agent.lame_duck import LameDuck
from changeover.agent.look import Software
from changeover.agent.members import Members
from changeover.agent.metadata import Metadata
from changeover.agent.server import Server
from changeover.agent.service import Agent
from changeover.hops.questions import questions
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Address

COULD_NOT = 2
"""The exit code: see cli/exits.py."""


def main() -> int:
    config = AgentConfig(**json.loads(os.environ.pop(CONFIG)))
    logging.basicConfig(format="%(message)s", level=logging.INFO)  # systemd's journal adds the time
    try:
        asyncio.run(_serve(config))
    except (ValueError, OSError) as error:
        reason = f"{error.filename or config.listen}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"error: {reason}. The agent did not start.", file=sys.stderr)
        return COULD_NOT
    return 0


async def _serve(config: AgentConfig) -> None:
    asked, client, instance = questions(config.kind), DirectClient(config.timeout), config.instance
    software = Software(instance, asked, client, config.counts_at)
    lame_duck = LameDuck(Path(config.lame_duck_file))
    members = Members({tier: Path(file) for tier, file in config.members.items()}, client, instance)
    agent = Agent(config.kind, software, lame_duck, members)
    access, encryption = Access(config), tls(config)
    lame_duck.open()
    members.open()
    listener = _listener(Address.parse(config.listen))
    server = await asyncio.start_server(Server(agent, access).serve, sock=listener, ssl=encryption)
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(_watch(agent, client) if config.metadata else asyncio.Event().wait())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    where = server.sockets[0].getsockname()
    logging.getLogger("changeover.agent").info(
        "agent of %s (%s, port %d): listening on %s:%d%s",
        *(instance.name, config.kind, config.port, where[0], where[1]),
        f"; {lame_duck.reason}" if lame_duck.reason else "",
    )
    async with server:
        with suppress(asyncio.CancelledError):
            await running


def _listener(at: Address) -> socket.socket:
    """asyncio's own says less when the address is taken."""
    host = at.host.strip("[]")
    return socket.create_server((host, at.port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=100)


async def _watch(agent: Agent, client: DirectClient) -> None:
    agent.metadata = Metadata(client, agent.notice)
    await agent.metadata.watch()


if __name__ == "__main__":
    sys.exit(main())
