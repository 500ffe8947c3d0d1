"""The cost of a tus PATCH after thousands of others: 6,000 of 16 bytes to one durable upload, the median of every 500.

Also the time in which the content is read back. Written to results/many_appends.json.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.completion.completed import CompletedUpload
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.manifest import Response
from changeover.uploads.core.segments.lists import pieces

APPENDS, SIZE, WINDOW = 6000, 16, 500


async def handled(_: CompletedUpload) -> Response:
    return Response(200)


async def measured(folder: Path, console: Console) -> tuple[list[float], float]:
    engine = Engine(FileStore(folder), handled, Limits())
    upload = await engine.create(NewUpload("tus", length=APPENDS * SIZE))
    curve: list[float] = []
    times: list[float] = []
    for number in range(APPENDS):

        async def body() -> AsyncIterator[bytes]:
            yield b"x" * SIZE

        begun = time.perf_counter()
        await engine.append(upload.id, "", number * SIZE, body(), complete=None)
        times.append(time.perf_counter() - begun)
        if len(times) == WINDOW:
            curve.append(statistics.median(times))
            console.print(f"{number + 1} appends: {1e3 * curve[-1]:.2f} ms each", highlight=False)
            times.clear()
    begun = time.perf_counter()
    manifest = await engine.find(upload.id, "")
    assert sum([len(piece) async for piece in pieces(engine.store, manifest)]) == APPENDS * SIZE
    return curve, time.perf_counter() - begun


def main() -> None:
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as folder:
        curve, read = asyncio.run(measured(Path(folder), console))
    table = Table("appends before", "median ms of an append")
    for number, seconds in enumerate(curve):
        table.add_row(str(number * WINDOW), f"{1e3 * seconds:.2f}")
    Console().print(table, f"read back in {1e3 * read:.1f} ms")
    results = {"size": SIZE, "window": WINDOW, "median_seconds": curve, "read_back_seconds": read}
    write_results("many_appends", results, console)


if __name__ == "__main__":
    main()
