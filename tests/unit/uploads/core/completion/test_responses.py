"""What a handler responds is examined before it is stored: whatever cannot be replayed is a failed call."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import fastapi
import pytest
import starlette.exceptions
import starlette.responses
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.uploads.serving import Got, Instance
from tests.unit.uploads.speaking import ContentRange, Ietf, Parts, Tus

from changeover.uploads import CompletedUpload, FileStore, Forbidden, Rejected, Response, RetryLater
from changeover.uploads.core import record
from changeover.uploads.core.completion.responses import MAX_BODY, MAX_HEADERS, UnusableResponse, sendable, usable
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.server.asgi import Uploads

DIALECTS = [pytest.param(each, id=type(each).__name__) for each in (Ietf(), Tus(), ContentRange(), Parts())]
GOOD = Response(201, (("X-Good", "yes"),), b"thanks")


def made(status: Any = 200, headers: Any = (), body: Any = b"") -> Response:
    return Response(status, headers, body)


UNUSABLE = {
    "None": None,
    "text": "done",
    "bytes": b"done",
    "a dict": {"ok": True},
    "a tuple": (200, (), b""),
    "a response of Starlette": starlette.responses.PlainTextResponse("done"),
    "the class": Response,
    "a status of text": made("200"),
    "a status that is true": made(True),
    "a status of a float": made(200.0),
    "no status": made(None),
    "an interim status": made(100),
    "a status beyond 599": made(600),
    "a negative status": made(-200),
    "a body of text": made(body="done"),
    "a body of an array": made(body=bytearray(b"done")),
    "no body": made(body=None),
    "a body too large": made(body=bytes(MAX_BODY + 1)),
    "a body with 204": made(204, body=b"x"),
    "a body with 304": made(304, body=b"x"),
    "headers of a dict": made(headers={"X-A": "b"}),
    "headers of text": made(headers="X-A: b"),
    "no headers": made(headers=None),
    "headers of one pair": made(headers=("X-A", "b")),
    "a header of three": made(headers=(("X-A", "b", "c"),)),
    "a header of bytes": made(headers=((b"X-A", b"b"),)),
    "a value of a number": made(headers=(("X-A", 5),)),
    "a value of None": made(headers=(("X-A", None),)),
    "a value with a line feed": made(headers=(("X-A", "b\nX-C: d"),)),
    "a value that ends in a line feed": made(headers=(("X-A", "b\n"),)),
    "a value with a carriage return": made(headers=(("X-A", "b\r"),)),
    "a value with NUL": made(headers=(("X-A", "b\0"),)),
    "a value with DEL": made(headers=(("X-A", "b\x7f"),)),
    "a value beyond latin-1": made(headers=(("X-A", "\u20ac"),)),
    "a surrogate": made(headers=(("X-A", "\udc80"),)),
    "a name with a space": made(headers=(("X A", "b"),)),
    "a name with a colon": made(headers=(("X-A:", "b"),)),
    "an empty name": made(headers=(("", "b"),)),
    "a name beyond ASCII": made(headers=(("X-\u00e4", "b"),)),
    "a name with a line feed": made(headers=(("X-A\n", "b"),)),
    "headers too large": made(headers=(("X-A", "b" * MAX_HEADERS),)),
    "too many headers": made(headers=(("X-A", "b"),) * MAX_HEADERS),
    "a length that is wrong": made(headers=(("Content-Length", "5"),)),
    "two lengths": made(headers=(("Content-Length", "2"), ("content-length", "3")), body=b"ab"),
    "a transfer coding": made(headers=(("Transfer-Encoding", "chunked"),)),
    "an option of the connection": made(headers=(("connection", "close"),)),
    "an offset": made(headers=(("upload-offset", "3"),)),
    "a statement that it is incomplete": made(headers=(("Upload-Complete", "?0"),)),
}


@dataclass
class Scripted:
    """A handler with these results, one for each call; exceptions are raised."""

    results: list[Any]
    calls: list[int] = field(default_factory=list)

    async def __call__(self, upload: CompletedUpload) -> Any:
        self.calls.append(upload.attempt)
        result = self.results[min(len(self.calls), len(self.results)) - 1]
        if isinstance(result, BaseException):
            raise result
        return result


class Client:
    """Uploads `hello` in a dialect, and asks again for the response."""

    def __init__(self, instance: Instance, dialect: Any) -> None:
        self._instance = instance
        self._dialect = dialect
        self.id = ""

    async def upload(self) -> Got:
        self.id = (await self._send(self._dialect.create(5))).id
        got = await self._send(self._dialect.append(self.id, 0, 5, 5), b"hello")
        return await self.again() if isinstance(self._dialect, Parts) else got

    async def again(self) -> Got:
        if isinstance(self._dialect, Parts):
            return await self._instance.got("POST", f"/{self.id}/complete")
        return await self._send(self._dialect.append(self.id, 5, 5, 5))

    def is_good(self, got: Got) -> bool:
        if isinstance(self._dialect, Tus):
            return got.status == 204
        status = 200 if isinstance(self._dialect, ContentRange) else 201
        return (got.status, got.headers["x-good"], got.body) == (status, "yes", b"thanks")

    async def _send(self, ask: Any, body: bytes = b"") -> Got:
        return await self._instance.got(ask.method, ask.path, body, **ask.headers)


def over(store: FileStore, handler: Any) -> Instance:
    """The handler itself, and not through a function of the tests."""
    instance = Instance(store)
    instance.app = Uploads(store, handler)
    instance.engine = instance.app._engine
    return instance


@pytest.mark.parametrize("result", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_response_that_cannot_be_replayed_is_a_failed_call_and_is_not_stored(
    store: FileStore, caplog: pytest.LogCaptureFixture, result: Any
) -> None:
    handler = Scripted([result, GOOD])
    instance = over(store, handler)
    got = await (client := Client(instance, Ietf())).upload()
    assert (got.status, got.headers["content-type"]) == (503, "application/problem+json")
    assert got.headers["retry-after"]
    [logged] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert f"{__name__}.Scripted" in logged.getMessage()
    assert client.id in logged.getMessage()
    assert (await instance.engine.find(client.id, "")).response is None
    assert client.is_good(await client.again())
    assert client.is_good(await client.again())
    assert handler.calls == [1, 2]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("result", [None, "done", made(headers=(("X-A", "b\r\nX: y"),)), RuntimeError("no database")])
async def test_a_failed_call_is_made_again_in_every_dialect(store: FileStore, dialect: Any, result: Any) -> None:
    handler = Scripted([result, result, GOOD])
    client = Client(over(store, handler), dialect)
    assert [(await client.upload()).status, (await client.again()).status] == [503, 503]
    assert client.is_good(await client.again())
    assert client.is_good(await client.again())
    assert handler.calls == [1, 2, 3]


async def test_a_failed_call_of_a_plain_upload_is_made_again_by_the_collection(store: FileStore) -> None:
    handler = Scripted([None, GOOD])
    instance = over(store, handler)
    assert (await instance.got("POST", "/", b"hello")).status == 503
    await instance.app.collect()
    await instance.app.collect()
    assert handler.calls == [1, 2]


@dataclass
class HTTPError(Exception):
    """An exception of a framework that the library does not know."""

    status_code: Any
    detail: Any
    headers: Any = None


ERRORS = [{"loc": ["body"], "msg": "too small"}]
REFUSALS = {
    "Rejected": (Rejected(422, "not a picture"), 422, "not a picture"),
    "Forbidden": (Forbidden("not yours"), 403, "not yours"),
    "Starlette": (starlette.exceptions.HTTPException(415, "no video"), 415, "no video"),
    "Starlette without detail": (starlette.exceptions.HTTPException(404), 404, "Not Found"),
    "FastAPI": (fastapi.HTTPException(422, ERRORS), 422, ERRORS),
    "another framework": (HTTPError(409, "there is one"), 409, "there is one"),
    "a status without a name": (HTTPError(499, "gone"), 499, "gone"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("error", "status", "detail"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_of_the_handler_is_final_and_replayed(
    store: FileStore, dialect: Any, error: Exception, status: int, detail: Any
) -> None:
    handler = Scripted([error, GOOD])
    client = Client(over(store, handler), dialect)
    for got in (await client.upload(), await client.again(), await client.again()):
        assert (got.status, got.headers["content-type"]) == (status, "application/problem+json")
        document = json.loads(got.body)
        assert (document["status"], document["detail"]) == (status, detail)
    assert handler.calls == [1]


async def test_a_refusal_keeps_its_headers(store: FileStore) -> None:
    handler = Scripted([fastapi.HTTPException(401, "log in", {"WWW-Authenticate": "Basic"})])
    got = await Client(over(store, handler), Ietf()).upload()
    assert (got.status, got.headers["www-authenticate"]) == (401, "Basic")


NO_REFUSALS = {
    "a fault of the server": fastapi.HTTPException(500, "no database"),
    "unavailable": fastapi.HTTPException(503, "later"),
    "a redirection": HTTPError(303, "elsewhere"),
    "too many requests": fastapi.HTTPException(429, "slowly"),
    "a timeout": HTTPError(408, "late"),
    "a status of text": HTTPError("422", "no"),
    "a header that cannot be sent": HTTPError(422, "no", {"X-A": "b\r\n"}),
    "a header of a number": HTTPError(422, "no", {"X-A": 5}),
    "headers that are none": HTTPError(422, "no", 5),
    "a detail that is not JSON": HTTPError(422, object()),
    "a detail too large": HTTPError(422, "x" * MAX_BODY),
    "RetryLater": RetryLater("later"),
    "a fault": KeyError("x"),
    "a group": ExceptionGroup("two", [KeyError("x")]),
}


@pytest.mark.parametrize("error", NO_REFUSALS.values(), ids=NO_REFUSALS)
async def test_any_other_exception_is_a_failed_call(store: FileStore, error: Exception) -> None:
    handler = Scripted([error, GOOD])
    client = Client(over(store, handler), Ietf())
    assert (await client.upload()).status == 503
    assert client.is_good(await client.again())


async def test_a_handler_that_cancels_itself_is_a_failed_call(store: FileStore) -> None:
    handler = Scripted([asyncio.CancelledError(), GOOD])
    client = Client(over(store, handler), Ietf())
    assert (await client.upload()).status == 503
    assert client.is_good(await client.again())


async def test_a_handler_need_not_be_a_coroutine_function(store: FileStore) -> None:
    client = Client(over(store, lambda upload: GOOD), Ietf())
    assert client.is_good(await client.upload())


def _with_more(_: int, __: CompletedUpload) -> Any:
    return None


async def test_the_log_names_a_handler_in_a_partial(store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    await Client(over(store, partial(_with_more, 1)), Ietf()).upload()
    assert f"{__name__}._with_more" in caplog.text


async def test_a_tus_client_that_asks_for_the_offset_learns_of_a_refusal(store: FileStore) -> None:
    """It would take `5 of 5` for success."""
    instance = over(store, Scripted([Rejected(422, "not a picture")]))
    await (client := Client(instance, Tus())).upload()
    got = await instance.got("HEAD", f"/{client.id}", tus_resumable="1.0.0")
    assert (got.status, got.headers["tus-resumable"]) == (422, "1.0.0")


OLD_ANSWERS = {
    "None": None,
    "a status of text": {"status": "200", "headers": [], "body": ""},
    "headers of a dict": {"status": 200, "headers": {"X-A": "b"}, "body": ""},
    "no headers": {"status": 200, "headers": None, "body": ""},
    "a value with a line feed": {"status": 200, "headers": [["X-A", "b\n"]], "body": ""},
    "a value beyond latin-1": {"status": 200, "headers": [["X-A", "\u20ac"]], "body": ""},
    "a value of a number": {"status": 200, "headers": [["X-A", 5]], "body": ""},
    "a body with 204": {"status": 204, "headers": [], "body": "eA=="},
}


@pytest.mark.parametrize("answer", OLD_ANSWERS.values(), ids=OLD_ANSWERS)
async def test_the_handler_is_called_again_where_an_older_release_stored_what_cannot_be_replayed(
    store: FileStore, answer: Any
) -> None:
    handler = Scripted([GOOD])
    instance = over(store, handler)
    id = "a" * 32
    done = Manifest(id, "ietf", 0.0, None, length=0, state=UploadState.DONE, attempts=1, epoch=2)
    stored = {**json.loads(record.encode(done)), "answer": answer}
    await store.create(id, json.dumps(stored).encode())
    await instance.app.collect()
    assert handler.calls == [2]
    assert (await instance.engine.find(id, "")).response == GOOD


@pytest.mark.parametrize(
    "response",
    [made(body=bytes(MAX_BODY + 1)), made(headers=(("Connection", "close"),)), made(headers=(("X-A", "b" * 9000),))],
    ids=["large", "connection", "long"],
)
def test_what_an_older_release_stored_and_replayed_stays(response: Response) -> None:
    """A second call of the handler would repeat its effect."""
    done = Manifest("a" * 32, "ietf", 0.0, None, state=UploadState.DONE, response=response)
    assert record.decode(record.encode(done)) == done


def test_a_value_loses_the_space_around_it() -> None:
    assert usable(made(headers=[["X-A", "  b c\t"]])).headers == (("X-A", "b c"),)


def test_a_correct_length_is_left_to_the_server() -> None:
    assert usable(made(headers=(("Content-Length", "2"), ("X-A", "b")), body=b"ab")) == made(
        200, (("X-A", "b"),), b"ab"
    )


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=6,
)


@given(st.builds(Response, junk | st.integers(100, 700), junk | st.lists(st.tuples(st.text(), st.text())), junk))
def test_what_is_usable_can_be_encoded_and_anything_else_is_refused(response: Response) -> None:
    try:
        found = usable(response)
    except UnusableResponse:
        return
    assert sendable(found) == found
    for name, value in found.headers:
        assert name.encode("ascii")
        assert not set(value.encode("latin-1")) & {0, 10, 13}
    done = Manifest("a", "ietf", 0.0, None, state=UploadState.DONE, response=found)
    assert record.decode(record.encode(done)) == done
