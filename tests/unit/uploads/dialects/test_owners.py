"""Ownership, over every dialect and method: a stranger's request changes nothing and interrupts nothing.

The response to a stranger is the one for an id that never existed; without an identity every request gets 403.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Scope
from tests.unit.uploads.dialects.test_bad_input import BEGIN, IETF_APPEND, TUS, TUS_APPEND, check_problem
from tests.unit.uploads.serving import Got, Instance, Sending, settled

from changeover.uploads import FileStore, Forbidden, UploadTiming

TIMING = UploadTiming(idle_commit=60.0, max_commit_delay=60.0)
"""The owner's request writes its record at its end only."""

UNKNOWN = "a" * 32

STATED = {
    "ietf": {**IETF_APPEND, "upload_offset": "3"},
    "ietf, another length": {**IETF_APPEND, "upload_offset": "3", "upload_length": "1"},
    "ietf, another offset": {**IETF_APPEND, "upload_offset": "1"},
    "tus": {**TUS_APPEND, "upload_offset": "3"},
    "tus, another length": {**TUS_APPEND, "upload_offset": "3", "upload_length": "1"},
    "content-range": {"content_range": "bytes 3-4/5"},
    "content-range, query": {"content_range": "bytes */*"},
    "none": {},
}
"""Fields of a request for an existing upload."""
METHODS = ("HEAD", "GET", "PATCH", "PUT", "POST", "DELETE")
BELOW = ("", "/", "/content", "/parts", "/parts/1", "/complete", "/continue/guess")
REQUESTS = [*itertools.product(METHODS, BELOW, STATED)]


def authorise(scope: Scope) -> str:
    user = dict(scope["headers"]).get(b"user")
    if user is None:
        raise Forbidden("no identity")
    return str(user.decode())


@dataclass
class Owned:
    """An upload of ann with three bytes, and her request that sends more."""

    id: str
    folder: Path
    request: asyncio.Task[Got]

    def stored(self) -> dict[str, bytes]:
        return {
            str(each.relative_to(self.folder)): each.read_bytes() for each in self.folder.rglob("*") if each.is_file()
        }


@asynccontextmanager
async def running(instance: Instance, folder: Path, dialect: str) -> AsyncIterator[Owned]:
    body = Sending()
    body.send(b"hel")
    if dialect == "plain":
        request = asyncio.ensure_future(instance.got("POST", "/", body, user="ann"))
    else:
        path, fields = BEGIN[dialect]
        id = (await instance.got("POST", path, user="ann", **fields)).id
        append = {
            "ietf": ("PATCH", "", {**IETF_APPEND, "upload_offset": "0"}),
            "tus": ("PATCH", "", {**TUS_APPEND, "upload_offset": "0"}),
            "content-range": ("PUT", "", {"content_range": "bytes 0-4/5"}),
            "parts": ("PUT", "/parts/1", {}),
        }[dialect]
        request = asyncio.ensure_future(instance.got(append[0], f"/{id}{append[1]}", body, user="ann", **append[2]))
    await settled(body.pieces.empty)
    await settled(lambda: any(instance.engine._active._requests.values()))
    id = next(iter(instance.engine._active._requests)).partition("/")[0]
    owned = Owned(id, folder, request)
    try:
        yield owned
    finally:
        body.send(b"lo")
        body.end()
        await request


@pytest.mark.parametrize("dialect", [*BEGIN, "plain"])
async def test_no_request_of_a_stranger_changes_or_interrupts_an_upload_or_shows_that_it_exists(
    store: FileStore, tmp_path: Path, dialect: str
) -> None:
    instance = Instance(store, authorise=authorise, timing=TIMING)
    async with running(instance, tmp_path, dialect) as owned:
        before = owned.stored()
        for method, below, stated in REQUESTS:
            fields = STATED[stated]
            theirs = await instance.got(method, f"/{owned.id}{below}", b"xx", user="bob", **fields)
            never = await instance.got(method, f"/{UNKNOWN}{below}", b"xx", user="bob", **fields)
            case = f"{method} {below} {stated}"
            assert theirs.status in (400, 404, 405, 412, 415), case
            assert (theirs.status, theirs.headers, theirs.body.replace(owned.id.encode(), UNKNOWN.encode())) == (
                never.status,
                never.headers,
                never.body,
            ), case
            assert not owned.request.done(), case
        assert owned.stored() == before
    assert (await owned.request).status < 300


@pytest.mark.parametrize("dialect", [*BEGIN, "plain"])
async def test_no_request_without_identity_changes_or_interrupts_an_upload_or_shows_that_it_exists(
    store: FileStore, tmp_path: Path, dialect: str
) -> None:
    instance = Instance(store, authorise=authorise, timing=TIMING)
    async with running(instance, tmp_path, dialect) as owned:
        before = owned.stored()
        for method, below, stated in REQUESTS:
            for id in (owned.id, UNKNOWN):
                got = await instance.got(method, f"/{id}{below}", b"xx", **STATED[stated])
                check_problem(got, 404 if "continue" in below else 403)  # a capability stands for the identity
        assert not owned.request.done()
        assert owned.stored() == before
    assert (await owned.request).status < 300


@pytest.mark.parametrize("dialect", [*BEGIN, "plain"])
async def test_the_owner_interrupts_her_own_request(store: FileStore, tmp_path: Path, dialect: str) -> None:
    """So the requests above would interrupt it, if their owner were not checked."""
    instance = Instance(store, authorise=authorise, timing=TIMING)
    async with running(instance, tmp_path, dialect) as owned:
        if dialect == "parts":
            again = await instance.got("PUT", f"/{owned.id}/parts/1", b"hello", user="ann")
        else:
            again = await instance.got("HEAD", f"/{owned.id}", user="ann")
        assert again.status < 300 or dialect == "plain"  # an interrupted plain upload is cancelled
        assert (await owned.request).status == 503


async def test_a_stranger_joins_no_bytes_of_another_owner(store: FileStore, tmp_path: Path) -> None:
    instance = Instance(store, authorise=authorise, timing=TIMING)
    partial = {**TUS_APPEND, "upload_length": "5", "upload_concat": "partial"}
    id = (await instance.got("POST", "/", b"hello", user="ann", **partial)).id
    before = {*tmp_path.glob("*/*")}
    theirs = await instance.got("POST", "/", user="bob", **TUS, upload_concat=f"final;/files/{id}")
    never = await instance.got("POST", "/", user="bob", **TUS, upload_concat=f"final;/files/{UNKNOWN}")
    check_problem(theirs, 404)
    assert theirs == never
    assert {*tmp_path.glob("*/*")} == before
