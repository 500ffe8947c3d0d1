"""An application with a stand-in for the agent in one process: `vm_with_agent.py PORT AGENT_PORT TOKEN [KIND INWARD]`.

With INWARD, an address, it is a proxy of that kind: it sends each request on, the body as it arrives. Otherwise it is
the application of `vm_app`. It ends at once on SIGTERM. The agent follows the contract of docs/agent.md as far as the
controller uses it; the agent itself has tests of its own. The file `agent-fault` in its folder has it do otherwise.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

HOST = os.environ["GCE_METADATA_HOST"].split(":")[0]
NAME = os.path.basename(os.getcwd()).rpartition("-")[0]  # noqa: PTH109, PTH119  pathlib takes longer than this runs
PORT, AGENT_PORT, TOKEN = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
KIND, INWARD = sys.argv[4:] or ("app", "")
STARTED = time.time()

Answer = tuple[int, object]


class State:
    lame = False
    requests = 0
    connections = 0


async def application(verb: str, path: str, head: dict[str, str], body: bytes) -> Answer:
    return 200, len(body) if verb == "POST" else NAME


async def send_on(verb: str, path: str, length: int, client: asyncio.StreamReader) -> Answer:
    """On a connection of its own; the answer of the application comes back as it was."""
    host, port = INWARD.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (verb.encode(), path.encode(), length))
        writer.write(b"Connection: close\r\n\r\n")
        while length:
            part = await client.read(min(length, 65536))
            if not part:
                raise ConnectionError
            length -= len(part)
            writer.write(part)
            await writer.drain()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return (int(head.split()[1]), json.loads(body)) if body and head.split()[1] == b"200" else (502, "")
    finally:
        writer.close()


async def agent(verb: str, path: str, head: dict[str, str], body: bytes) -> Answer:
    fault = ""
    if os.path.exists("agent-fault"):  # noqa: PTH110
        with open("agent-fault", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
            fault = file.read()
    if fault == "hangs":
        await asyncio.Event().wait()
    if fault == "refuses":
        raise ConnectionError
    if path == "/readyz":
        return (503, {"reason": "lame duck"}) if State.lame else (200, {})
    if fault == "garbage":
        return 200, {"format": "x", "name": NAME, "in_flight": {"requests": "0", "connections": -1}}
    if fault == "token":
        return 401, {"error": "another token", "next": "Send it."}
    if head.get("authorization") != f"Bearer {TOKEN}":
        return 401, {"error": "no token", "next": "Send it."}
    if path == "/v1/lame-duck":
        State.lame = json.loads(body)["on"]
    counts = {"requests": State.requests, "connections": State.connections, "uploads": []}
    status = {"format": 1, "name": NAME, "ready": not State.lame, "lame_duck": State.lame, "kind": KIND}
    times = {"time": time.time(), "started": STARTED, "reason": "lame duck" if State.lame else None}
    return 200, {**status, **times, "in_flight": counts, "unknown": None, "witnesses": {"kernel": None, "own": counts}}


async def serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Callable[[str, str, dict[str, str], bytes], Awaitable[Answer]],
    counted: int,
) -> None:
    State.connections += counted
    try:
        while line := (await reader.readline()).decode():
            State.requests += counted
            try:
                verb, path, _ = line.split()
                head = {}
                while field := (await reader.readline()).decode().strip():
                    name, _, value = field.partition(":")
                    head[name.lower()] = value.strip()
                length = int(head.get("content-length", 0))
                if INWARD and counted:
                    status, found = await send_on(verb, path, length, reader)
                else:
                    status, found = await answer(verb, path, head, await reader.readexactly(length))
                text = json.dumps(found).encode()
                close = State.lame or not counted
                connection = b"close" if close else b"keep-alive"
                writer.write(
                    b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"
                    % (status, len(text), connection, text)
                )
                await writer.drain()
            finally:
                State.requests -= counted
            if close:
                return
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        State.connections -= counted
        writer.close()


async def main() -> None:
    await asyncio.start_server(lambda r, w: serve(r, w, agent, 0), HOST, AGENT_PORT)
    server = await asyncio.start_server(lambda r, w: serve(r, w, application, 1), HOST, PORT)
    await server.serve_forever()


asyncio.run(main())
