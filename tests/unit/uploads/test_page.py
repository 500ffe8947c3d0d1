"""The page about uploads: its examples run, in Starlette and in FastAPI, and do what the page says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx

from changeover.kit.sockets import free_port

METRICS = free_port("127.0.0.1")
PAGE = Path(__file__).parents[3] / "docs" / "uploads.md"


def example(number: int, folder: Path) -> dict[str, Any]:
    """What is there after the code of one example, its uploads in that folder."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    there: dict[str, Any] = {}
    code = found[number].replace("9100", str(METRICS))
    exec(re.sub(r"/srv/\w+", str(folder), code), there)
    return there


async def test_the_example_in_starlette_takes_an_upload(tmp_path: Path) -> None:
    there = example(0, tmp_path)
    transport = httpx.ASGITransport(there["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
        answer = await client.post("/files/", content=b"hello", headers={"Upload-Complete": "?1"})
        assert (answer.status_code, answer.text) == (201, hashlib.sha256(b"hello").hexdigest())
        assert (await client.get(answer.headers["location"] + "/content")).content == b"hello"


async def test_the_example_in_fastapi_limits_validates_tells_and_counts(tmp_path: Path) -> None:
    there = example(1, tmp_path)
    app = there["app"]
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        begin = {"Upload-Complete": "?0", "Content-Type": "image/png"}
        assert (await client.post("/files/", headers=begin)).status_code == 403
        client.headers["X-User"] = "ann"
        wrong = await client.post("/files/", headers={**begin, "Content-Type": "text/html"})
        assert (wrong.status_code, wrong.json()["detail"]) == (415, "only pictures are accepted here")
        begun = [await client.post("/files/", content=b"hel", headers=begin) for _ in range(11)]
        assert [each.status_code for each in begun] == [201] * 10 + [429]
        place = begun[0].headers["location"]
        headers = {"Upload-Offset": "3", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
        assert (await client.patch(place, content=b"lo", headers=headers)).text == "ann sent 5 bytes"
        await there["uploads"].wait_until_idle()
        assert (await client.get(f"/progress/{place.rpartition('/')[2]}")).json() == 5
        assert (await client.get("/metrics")).status_code == 404
        async with httpx.AsyncClient(trust_env=False) as prometheus:
            shown = (await prometheus.get(f"http://127.0.0.1:{METRICS}/metrics")).text
        assert 'changeover_uploads_events_total{dialect="ietf",event="completed"}' in shown


async def test_the_example_with_a_route_of_its_own_tells_where_an_upload_is_found(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(example(2, tmp_path)["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
        begun = await client.post("/photos", headers={"Upload-Complete": "?0", "X-Album": "summer"})
        place = begun.headers["location"]
        assert place.startswith("/files/")
        headers = {"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
        assert (await client.patch(place, content=b"hello", headers=headers)).text == "/photos: summer"
