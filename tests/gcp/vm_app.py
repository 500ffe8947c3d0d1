"""The application on a VM of the tests: `GET /` names the VM, `POST` answers with the bytes that it read.

It ends at once on SIGTERM, with whatever it had begun: what a drain is for.
"""

import asyncio
import os
import sys


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            verb, length = line.split()[0], 0
            while (field := await reader.readline()) not in {b"\r\n", b""}:
                if field.lower().startswith(b"content-length:"):
                    length = int(field.split(b":")[1])
            read = len(await reader.readexactly(length))
            ready = not os.path.exists("lame")  # noqa: PTH110  pathlib takes longer to import than this runs
            body = b"%d\n" % read if verb == b"POST" else os.path.basename(os.getcwd()).encode()  # noqa: PTH109, PTH119
            status = b"200 OK" if ready else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, os.environ["GCE_METADATA_HOST"].split(":")[0], int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
