"""The page about uploads: its example runs, and mounts in Starlette as it says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx

PAGE = Path(__file__).parents[3] / "docs" / "uploads.md"


async def test_the_example_of_the_page_takes_an_upload(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    there: dict[str, Any] = {}
    exec(found[1].replace("/srv/uploads", str(tmp_path)), there)
    transport = httpx.ASGITransport(there["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
        answer = await client.post("/files/", content=b"hello", headers={"Upload-Complete": "?1"})
        assert (answer.status_code, answer.text) == (201, hashlib.sha256(b"hello").hexdigest())
        assert (await client.get(answer.headers["location"] + "/content")).content == b"hello"
