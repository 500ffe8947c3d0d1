"""A state machine that generates lives of uploads, and checks after every step what must never happen.

Everything runs in one thread and in a time of its own, so that a failure is found again.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.unit.uploads.faulty import Faulty, Killed
from tests.unit.uploads.serving import Got, Instance, Sending
from tests.unit.uploads.speaking import Ask, ContentRange, Ietf, Tus
from tests.unit.uploads.unnamed import check_nothing_unnamed

from changeover.uploads import CompletedUpload, FileStore, Limits, Response
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.record import decode
from changeover.uploads.core.segments.lists import pieces
from changeover.uploads.stores.store import RecordMissing, Store

INSTANCES = 2
UPLOADS = 3
DIALECTS = (Ietf(), Tus(), ContentRange())
some_instance = st.integers(0, INSTANCES - 1)
some_calls = st.sampled_from([(), ("swap",), ("commit",), ("swapped", "committed")])
some_one = st.integers(0, 9)
"""Picks one of however many there are."""


class Loop(asyncio.SelectorEventLoop):
    """Its time passes when the test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now


class AtOnce(Executor):
    """Instead of threads."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done = Future[Any]()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


# -- what the test knows ---------------------------------------------------------------------------------------------


@dataclass
class Upload:
    dialect: Ietf | ContentRange
    id: str
    whole: bytes
    acknowledged: int = 0
    """The highest offset in any response."""
    seen: int = 0
    """The offset in the store, when it was last looked at."""
    answer: bytes | None = None
    cancelling: bool = False
    cancelled: bool = False


@dataclass
class Request:
    upload: Upload
    where: int
    task: asyncio.Task[Got | None]
    body: Sending = field(default_factory=Sending)
    left: bytes = b""
    """Bytes of the body that are still to be sent."""
    open: bool = False
    acknowledged_before: int = 0
    cancels: bool = False
    too_late: bool = False
    """Begun after a cancellation was confirmed."""


class Machine(RuleBasedStateMachine):
    """Over a store that keeps its word."""

    store: Callable[[Path], Store] = staticmethod(lambda root: FileStore(root, durable=False))

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="uploads-"))
        self.loop = Loop()
        self.loop.set_exception_handler(self.unheard)
        self.shared = self.store(self.root)
        self.numbers = count(1)
        self.uploads: list[Upload] = []
        self.requests: list[Request] = []
        self.asked: set[str] = set()
        self.wrong: list[str] = []
        self.calm = False
        """No instance is paused or crashes in this life, so that the application is asked once."""
        self.slow = False
        self.skew = 0.0
        """Seconds by which the clock of the second instance is ahead of that of the first one."""
        self.go_on = asyncio.Event()
        self.disks: list[Faulty] = []
        self.instances: list[Instance] = []
        for where in range(INSTANCES):
            self.disks.append(Faulty(self.shared))
            self.instances.append(self.instance(self.disks[-1], where))

    def instance(self, disk: Store, where: int) -> Instance:
        limits = Limits(segment=8)
        return Instance(disk, self.application, limits=limits, now=lambda: self.loop.now + where * self.skew)

    async def application(self, finished: CompletedUpload) -> Response:
        """Never answers twice in the same words."""
        content = b"".join([piece async for piece in finished.pieces()])
        [upload] = [upload for upload in self.uploads if upload.id == finished.id]
        if content != upload.whole:
            self.wrong.append(f"the application got {content!r}")
        if upload.id in self.asked and self.calm:
            self.wrong.append("the application was asked twice")
        self.asked.add(upload.id)
        if self.slow:
            await self.go_on.wait()
        return Response(200, (), b"answer %d" % next(self.numbers))

    def unheard(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception of a task that no other task awaits."""
        if not isinstance(context.get("exception"), Killed):
            self.wrong.append(str(context))

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Run until nothing happens without time passing or another action."""

        async def idle() -> None:
            while self.loop._ready:  # type: ignore[attr-defined]
                await asyncio.sleep(0)

        self.run(asyncio.sleep(0))
        self.run(idle())
        for request in [request for request in self.requests if request.task.done()]:
            self.requests.remove(request)
            self.check(request)

    def begin(self, upload: Upload, where: int, ask: Ask, **more: Any) -> Request:
        body = Sending()
        task = self.loop.create_task(self.instances[where].ask(ask.method, ask.path, body, **ask.headers))
        request = Request(
            upload, where, task, body, acknowledged_before=upload.acknowledged, too_late=upload.cancelled, **more
        )
        if not request.open:
            body.end()
        self.requests.append(request)
        return request

    def check(self, request: Request) -> None:
        """What a response may say."""
        upload = request.upload
        if request.task.cancelled() or isinstance(request.task.exception(), Killed):
            return  # with its instance
        got = request.task.result()
        if got is None:
            return  # its client had gone
        assert got.status in (200, 201, 204, 308, 400, 404, 409, 503), got
        assert got.status == 404 or not request.too_late
        assert got.status != 404 or upload.cancelling
        upload.cancelled |= request.cancels and got.status == 204
        if upload.cancelling:
            return  # it may be gone
        manifest, content = self.look(upload)
        offset = upload.dialect.offset(got)
        if offset is not None:
            assert offset >= request.acknowledged_before, (
                f"an offset went back from {request.acknowledged_before} to {offset}"
            )
            assert offset <= len(content), f"{offset} bytes were acknowledged, and {len(content)} are there"
            upload.acknowledged = max(upload.acknowledged, offset)
        if upload.dialect.answered(got, len(upload.whole)):
            assert manifest.state is UploadState.DONE
            assert manifest.response is not None
            assert upload.answer in (None, manifest.response.body)
            upload.answer = manifest.response.body
            if not isinstance(upload.dialect, Tus):
                assert got.body == upload.answer

    def look(self, upload: Upload) -> tuple[Manifest, bytes]:
        async def look() -> tuple[Manifest, bytes]:
            manifest = decode((await self.shared.read(upload.id))[0])
            return manifest, b"".join([piece async for piece in pieces(self.shared, manifest)])

        found: tuple[Manifest, bytes] = self.run(look())
        return found

    # -- what happens --------------------------------------------------------------------------------------------------

    @initialize(
        dialect=st.integers(0, len(DIALECTS) - 1), calm=st.booleans(), skew=st.sampled_from([0.0, 300.0, -300.0])
    )
    def first(self, dialect: int, calm: bool, skew: float) -> None:
        self.calm = calm
        self.skew = skew
        self.create(dialect, 20, 0)

    @precondition(lambda self: len(self.uploads) < UPLOADS)
    @rule(dialect=st.integers(0, len(DIALECTS) - 1), size=st.integers(1, 40), where=some_instance)
    def create(self, dialect: int, size: int, where: int) -> None:
        self.disks[where].release()
        upload = Upload(DIALECTS[dialect], "", bytes((len(self.uploads) * 41 + n) % 256 for n in range(size)))
        ask = upload.dialect.create(size)
        got = self.run(self.instances[where].got(ask.method, ask.path, b"", **ask.headers))
        assert got.status in (200, 201)
        upload.id = got.id
        self.uploads.append(upload)

    @rule(
        one=some_one,
        where=some_instance,
        off=st.sampled_from([0, 0, 0, 0, -3, 2]),
        size=st.integers(0, 40),
        sent=st.integers(0, 40),
    )
    def append(self, one: int, where: int, off: int, size: int, sent: int) -> None:
        upload = self.uploads[one % len(self.uploads)]
        length = len(upload.whole)
        first = min(max(upload.acknowledged + off, 0), length)
        last = min(first + size, length)
        ask = upload.dialect.append(upload.id, first, last, length)
        request = self.begin(upload, where, ask, left=upload.whole[first:last], open=True)
        if sent:
            self.push(request, sent)
        if not request.left:
            self.finish_body(request)
        self.settle()

    @precondition(lambda self: self.bodies())
    @rule(one=some_one, size=st.integers(1, 20))
    def send(self, one: int, size: int) -> None:
        self.push(self.bodies()[one % len(self.bodies())], size)
        self.settle()

    @precondition(lambda self: self.bodies())
    @rule(one=some_one)
    def end(self, one: int) -> None:
        self.finish_body(self.bodies()[one % len(self.bodies())])
        self.settle()

    @precondition(lambda self: self.bodies())
    @rule(one=some_one)
    def hang_up(self, one: int) -> None:
        request = self.bodies()[one % len(self.bodies())]
        request.body.hang_up()
        request.open = False
        self.settle()

    def push(self, request: Request, size: int) -> None:
        request.body.send(request.left[:size])
        request.left = request.left[size:]

    def finish_body(self, request: Request) -> None:
        request.body.send(request.left)
        request.body.end()
        request.open = False

    def bodies(self) -> list[Request]:
        return [request for request in self.requests if request.open]

    @rule(one=some_one, where=some_instance)
    def ask(self, one: int, where: int) -> None:
        upload = self.uploads[one % len(self.uploads)]
        self.begin(upload, where, upload.dialect.ask(upload.id, len(upload.whole)))
        self.settle()

    @precondition(lambda self: len(self.uploads) > 2)
    @rule(one=some_one, where=some_instance)
    def cancel(self, one: int, where: int) -> None:
        upload = self.uploads[one % len(self.uploads)]
        upload.cancelling = True
        self.begin(upload, where, Ask("DELETE", f"/{upload.id}", {}), cancels=True)
        self.settle()

    @precondition(lambda self: not self.calm)
    @rule(one=some_one, where=some_instance, calls=some_calls, sizes=st.tuples(st.integers(0, 20), st.integers(0, 20)))
    def outrun(self, one: int, where: int, calls: tuple[str, ...], sizes: tuple[int, int]) -> None:
        """An instance that sleeps in the midst of an append, and is overtaken by another one."""
        self.disks[where].hold(*calls)
        self.append(one, where, 0, sizes[0], sizes[0])
        self.append(one, 1 - where, 0, sizes[1], sizes[1])
        self.disks[where].release()
        self.settle()

    @precondition(lambda self: not self.calm)
    @rule(where=some_instance, calls=some_calls)
    def pause_or_wake(self, where: int, calls: tuple[str, ...]) -> None:
        if self.disks[where].held:
            self.disks[where].release()
        else:
            self.disks[where].hold(*calls)
        self.settle()

    @precondition(lambda self: not self.calm)
    @rule(where=some_instance)
    def crash(self, where: int) -> None:
        """As by SIGKILL, wherever it is; a new instance takes its place."""
        self.disks[where].kill()
        for request in self.requests:
            if request.where == where:
                request.task.cancel()
        self.disks[where] = Faulty(self.shared)
        self.instances[where] = self.instance(self.disks[where], where)
        self.settle()

    @rule(seconds=st.sampled_from([0.1, 0.3, 6.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        for _ in range(4):
            self.loop.now += seconds / 4
            self.settle()

    @rule(slow=st.booleans())
    def the_application_is(self, slow: bool) -> None:
        self.slow = slow
        if not slow:
            self.go_on.set()
            self.settle()
            self.go_on.clear()

    # -- what must never happen ----------------------------------------------------------------------------------------

    @invariant()
    def bytes_are_a_prefix_of_what_was_meant_and_none_that_was_told_is_missing(self) -> None:
        assert not self.wrong
        for upload in self.uploads:
            try:
                manifest, content = self.look(upload)
            except RecordMissing:
                assert upload.cancelling
                continue
            if manifest.state is UploadState.CANCELLED:
                assert upload.cancelling
                continue
            assert content == upload.whole[: len(content)]
            assert len(content) >= max(upload.acknowledged, upload.seen)
            upload.seen = len(content)
            if manifest.state is not UploadState.RECEIVING:
                assert content == upload.whole
            if manifest.response is not None:
                assert upload.answer in (None, manifest.response.body)

    def teardown(self) -> None:
        """Whatever happened: every upload that was not given up can be finished, and the answer stays the same."""
        try:
            self.the_application_is(slow=False)
            for disk in self.disks:
                disk.release()
            self.time_passes(60.0)
            for upload in self.uploads:
                if not upload.cancelling:
                    self.finish(upload)
            for _ in range(3):
                self.run(self.instances[0].engine.collector.collect())
            self.run(check_nothing_unnamed(self.shared))
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.settle()
            self.loop.close()
            shutil.rmtree(self.root)

    def finish(self, upload: Upload) -> None:
        _, content = self.look(upload)
        length = len(upload.whole)
        ask = upload.dialect.append(upload.id, len(content), length, length)
        request = self.begin(upload, 0, ask, left=upload.whole[len(content) :], open=True)
        self.finish_body(request)
        self.time_passes(1.0)
        assert request not in self.requests
        assert upload.answer is not None
