"""A real browser uploads from a page of another origin: by scripts in every dialect, and by a form without a script.

Chromium is Debian's (`scripts/install-packages chromium`); without it the tests are skipped. Pages report to their
server when they are done, so that nothing has to drive the browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.process.received import Server, serving

from changeover.uploads import Cors

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PATIENCE = 60.0
SIZE = 3_000_000

SCRIPT = """
const base = "%s/files/", size = %d;
const body = new Uint8Array(size).map((_, i) => i %% 251);
async function ask(method, url, headers, body) {
  const got = await fetch(new URL(url, base), {method, headers, body});
  if (!got.ok && got.status != 308) throw new Error(method + " " + url + ": " + got.status + " " + await got.text());
  return got;
}
const location_of = (got) => new URL(got.headers.get("Location"), base).href;
const dialects = {
  async plain() { return location_of(await ask("PUT", "", {"Content-Type": "image/png"}, body)); },
  async ietf() {
    const begun = await ask("POST", "", {"Upload-Complete": "?0"}, body.slice(0, 1000));
    const at = (await ask("HEAD", location_of(begun))).headers.get("Upload-Offset");
    const patch = {"Content-Type": "application/partial-upload", "Upload-Offset": at, "Upload-Complete": "?1"};
    await ask("PATCH", location_of(begun), patch, body.slice(Number(at)));
    return location_of(begun);
  },
  async tus() {
    const own = {"Tus-Resumable": "1.0.0"};
    const begun = await ask("POST", "", {...own, "Upload-Length": size, "Upload-Metadata": "filename YS5wbmc="});
    for (let at = 0; at < size; ) {
      const patch = {...own, "Content-Type": "application/offset+octet-stream", "Upload-Offset": at};
      const got = await ask("PATCH", location_of(begun), patch, body.slice(at, at + 2000000));
      at = Number(got.headers.get("Upload-Offset"));
    }
    return location_of(begun);
  },
  async parts() {
    const begun = location_of(await ask("POST", "?parts"));
    const part = (n) => ask("PUT", begun + "/parts/" + n, {}, body.slice((n - 1) * 2000000, n * 2000000));
    await Promise.all([part(1), part(2)]);
    await ask("POST", begun + "/complete");
    return begun;
  },
  async content_range() {
    const begun = location_of(await ask("POST", "?uploadType=resumable"));
    const range = {"Content-Range": `bytes 0-${size - 1}/${size}`};
    await ask("PUT", begun, range, body);
    return begun;
  },
  async form() {
    const form = new FormData();
    form.append("album", "summer");
    form.append("file", new File([body], "köln \\"1\\".png", {type: "image/png"}));
    return location_of(await ask("POST", "", {}, form));
  },
};
const report = {};
for (const [name, run] of Object.entries(dialects)) {
  try {
    const url = await run();
    const got = await ask("GET", url + "/content", {"Range": "bytes=1000-1999"});
    const bytes = new Uint8Array(await got.arrayBuffer());
    const same = bytes.length == 1000 && bytes.every((value, i) => value == (i + 1000) %% 251);
    report[name] = [got.status, got.headers.get("Content-Range"), same, got.headers.get("ETag") != null];
  } catch (error) { report[name] = String(error); }
}
await fetch("/report", {method: "POST", body: JSON.stringify(report)});
"""

FORM = """
<form action="%s/files/" method="post" enctype="multipart/form-data">
<input name="album" value="summer"><input type="file" name="unchosen"><input type="file" name="file" id="file">
</form><script>
const chosen = new DataTransfer();
chosen.items.add(new File([new Uint8Array(%d)], "bild ä.png", {type: "image/png"}));
document.getElementById("file").files = chosen.files;
document.forms[0].submit();
</script>
"""


@asynccontextmanager
async def page(html: str) -> AsyncIterator[tuple[str, asyncio.Future[dict[str, Any]]]]:
    """A site with one page. Returns its origin, and what the page reports."""
    report: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.startswith("post /report"):
                size = int(head.partition("content-length: ")[2].split()[0])
                report.set_result(json.loads(await reader.readexactly(size)))
            kind = b"Content-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n" + kind + (html.encode() if head.startswith("get / ") else b""))
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname()), report


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    quiet = asyncio.subprocess.DEVNULL
    command = (CHROMIUM, *options, "--remote-debugging-port=0", url)
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, 9)  # its children belong to its session
        await process.wait()


def script(server: Server) -> str:
    base = f"http://127.0.0.1:{server.receiver.address[1]}"
    return f'<meta charset="utf-8"><script type="module">{SCRIPT % (base, SIZE)}</script>'


async def reported(folder: Path, *, allowed: bool) -> tuple[dict[str, Any], Server]:
    cors = Cors(["*"]) if allowed else Cors(["https://another.example"])
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(folder / "files", cors=cors))
        origin, report = await stack.enter_async_context(page(script(server)))
        await stack.enter_async_context(browser(origin + "/", folder / "profile"))
        async with asyncio.timeout(PATIENCE):
            return await report, server


def test_a_page_of_another_origin_uploads_in_every_dialect(tmp_path: Path) -> None:
    """Starts a browser: seconds."""
    report, server = asyncio.run(reported(tmp_path, allowed=True))
    good = [206, f"bytes 1000-1999/{SIZE}", True, True]
    assert report == dict.fromkeys(("plain", "ietf", "tus", "parts", "content_range", "form"), good)
    form = server.finished[-1]
    assert (form.filename, form.content_type, form.size) == ('köln "1".png', "image/png", SIZE)
    assert form.metadata["album"] == "summer"


def test_a_page_of_an_origin_that_is_not_allowed_uploads_nothing(tmp_path: Path) -> None:
    """The control: without the fields the same browser refuses."""
    report, _ = asyncio.run(reported(tmp_path, allowed=False))
    assert [name for name, each in report.items() if not str(each).startswith("TypeError")] == []


def test_a_form_without_a_script_uploads_its_file(tmp_path: Path) -> None:
    async def go() -> None:
        async with serving(tmp_path / "files") as server:
            html = FORM % (f"http://127.0.0.1:{server.receiver.address[1]}", SIZE)
            async with page(html) as (origin, _), browser(origin + "/", tmp_path / "profile"):
                async with asyncio.timeout(PATIENCE):
                    while not server.finished:
                        await asyncio.sleep(0.05)
            (upload,) = server.finished
            assert (upload.filename, upload.content_type, upload.size) == ("bild ä.png", "image/png", SIZE)
            assert upload.metadata["album"] == "summer"

    asyncio.run(go())
