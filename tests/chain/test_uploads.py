"""Uploads by clients that people use, through all four tiers, while who takes them is replaced and killed.

Each must arrive whole, and the application must have been asked about it once; once more for every kill that came while
it was being asked, which the manifest tells. So this looks into the store, through the library that it belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tests.chain.chains import PATIENCE, Chain, Command, Said, chain_file, kill, small, tier_of, until
from tests.chain.slow_line import SlowLine, slow_lines
from tests.chain.upload_clients import CLIENTS

from changeover.uploads import FileStore
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.record import decode
from changeover.uploads.stores.store import RecordMissing

BETWEEN_KILLS = 5.0
"""Seconds from one kill to the next, in the soak."""
PIECE = 64 << 10
DATA = random.Random(1).randbytes(1 << 20)


def test_every_client_has_its_upload_arrive_though_who_takes_it_is_replaced_and_killed(
    rolled: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", rolled.ca_file)
    killer, before = Killer(rolled), answered(rolled)
    with uploading(rolled, tmp_path, size=8 << 20, rate=8e6, upto=3 << 20) as uploads:
        for upload in uploads:
            upload.line.wait_until_held()
        roll = rolled.start("roll", "runtime", "--to", rolled.other("runtime"), "--json")
        roll.says(" draining ")
        killer.kill_holders()
        for upload in uploads:
            upload.line.release()
        places = {upload: upload.place.result(2 * PATIENCE) for upload in uploads}
        done = roll.end()
    assert done.code == (3 if any(one["cut"] for one in done.json["instances"]) else 0), done
    assert done.json["outcome"] == "completed"
    assert killer.killed
    assert_all_arrived(rolled, places, killer, before)


@pytest.mark.soak
def test_every_client_has_50_mb_arrive_through_rolls_without_end_and_a_kill_every_few_seconds(
    rolled: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", rolled.ca_file)
    killer, before, rolls = Killer(rolled), answered(rolled), list[str]()
    with uploading(rolled, tmp_path, size=50_000_000, rate=1e6) as uploads:
        roll = rolled.start("roll", "runtime", "--to", rolled.other("runtime"), "--json")
        last_kill = time.monotonic()
        while wait([upload.place for upload in uploads], timeout=0.2).not_done:
            if roll.process.poll() is not None:
                rolls.append(outcome(roll))
                roll = rolled.start("roll", "runtime", "--to", rolled.other("runtime"), "--json")
            if time.monotonic() - last_kill > BETWEEN_KILLS:
                killer.kill_one_holder()
                last_kill = time.monotonic()
        rolls.append(outcome(roll))
        places = {upload: upload.place.result() for upload in uploads}
    assert_all_arrived(rolled, places, killer, before)
    print(f"\n{len(uploads)} uploads of 50 MB, rolls: {dict(Counter(rolls))}, {len(killer.killed)} kills, 0 lost")
    for upload, place in places.items():
        again = upload.line.sent - len(upload.data)
        attempts = 1 + killer.interrupted_handlers[id_of(place)]
        print(f"  {upload.name}: {upload.seconds:.0f} s, {again / 1e6:.1f} MB beyond the file, {attempts} attempt(s)")


def outcome(roll: Command) -> str:
    """What came of it. A roll whose new instances are killed again and again goes back, which is an end as good."""
    done = roll.end()
    assert done.code in (0, 1, 3), done  # 3: who was killed had uploads, which continue elsewhere
    return str(done.json["outcome"])


# -- that a break would be seen --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrived", "attempts"),
    [(DATA[:-1] + b"!", 1), (DATA + DATA[-PIECE:], 1), (DATA[PIECE:], 1), (DATA, 2)],
    ids=["another byte", "a piece twice", "a piece lost", "a second attempt that no kill explains"],
)
def test_an_upload_that_is_not_what_was_sent_would_be_noticed(rolled: Chain, arrived: bytes, attempts: int) -> None:
    with rolled.client() as client:
        place = f"{rolled.edge_url}/files/{client.post('/files/', content=arrived).json()['id']}"
    assert_arrived(rolled, place, arrived, 1)
    with pytest.raises(AssertionError):
        assert_arrived(rolled, place, DATA, attempts)


def test_instances_that_keep_uploads_to_themselves_would_be_noticed(chain: Chain) -> None:
    chain.file = chain_file(chain.folder, small, to_themselves)
    chain.up()
    with chain.client() as client:
        place = client.post("/files/", headers={"Upload-Complete": "?0"}).headers["location"]
    until(lambda: head(chain, place).status_code == 404, "an instance that has never heard of it")


def head(chain: Chain, place: str) -> httpx.Response:
    """On a connection of its own, which may lead to either instance."""
    with chain.client() as client:
        return client.head(place)


def to_themselves(status: Said) -> None:
    """A change: every instance has a folder for uploads of its own."""
    words = "-m changeover.example_app --host {host} --port {port} --instance {name} --version-label {version}"
    command = [sys.executable, *words.split(), "--shared", "{shared}/{name}", "--lame-duck-file", "{lame_duck}"]
    for each in tier_of(status, "runtime")["templates"].values():
        each["command"] = command


# -- the uploads -----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Uploading:
    """One client at work."""

    name: str
    data: bytes
    line: SlowLine
    place: Future[str]
    """The URL, once it has come to its end."""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.place.add_done_callback(lambda _: self._ended())

    def _ended(self) -> None:
        self.seconds = time.monotonic() - self.began


@contextmanager
def uploading(
    chain: Chain, folder: Path, *, size: int, rate: float, upto: int | None = None
) -> Iterator[list[Uploading]]:
    """All clients side by side, each with a file of its own, and on a line of its own."""
    edge_port = httpx.URL(chain.edge_url).port
    assert edge_port is not None
    with (
        slow_lines(len(CLIENTS), edge_port, rate=rate, upto=upto) as lines,
        ThreadPoolExecutor(len(CLIENTS)) as pool,
    ):
        uploads = []
        for line, (name, by) in zip(lines, CLIENTS.items(), strict=True):
            data, file = os.urandom(size), folder / name.replace(" ", "")
            file.write_bytes(data)
            endpoint = f"https://127.0.0.1:{line.port}/files/"
            uploads.append(Uploading(name, data, line, pool.submit(by, endpoint, chain.ca_file, file)))
        try:
            yield uploads
        finally:
            for line in lines:
                line.release()


def id_of(place: str) -> str:
    return place.rpartition("/")[2]


def assert_all_arrived(chain: Chain, places: dict[Uploading, str], killer: Killer, before: set[str]) -> None:
    """Insist that each client's upload is there once, as it was sent, and that no client's end left it unanswered."""
    assert answered(chain) - before == {id_of(place) for place in places.values()}
    chain.until(lambda status: whole(status, killer.killed), "new instances in the place of those that were killed")
    for upload, place in places.items():
        assert_arrived(chain, place, upload.data, 1 + killer.interrupted_handlers[id_of(place)])


def assert_arrived(chain: Chain, place: str, data: bytes, attempts: int) -> None:
    """Insist that an upload is those bytes, that the handler got them, and how often it was called."""
    path, size = httpx.URL(place).path, str(len(data))
    headers = {"Upload-Offset": size, "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    with chain.client() as client:
        status = client.patch(path, headers=headers).json()
    assert (status.get("bytes"), status.get("sha256")) == (len(data), hashlib.sha256(data).hexdigest()), status
    assert status["attempt"] == attempts

    def elsewhere() -> httpx.Response | None:
        answer = chain.get(f"{path}/content")
        return answer if answer.headers["x-changeover-instance"] != status["instance"] else None

    assert until(elsewhere, "another instance to answer").content == data


# -- the store, and who holds what -------------------------------------------------------------------------------------


def manifests(chain: Chain) -> list[Manifest]:
    async def read() -> list[Manifest]:
        store, found = FileStore(chain.state / "shared" / "files"), []
        async for id in store.ids():
            with contextlib.suppress(RecordMissing):
                found.append(decode((await store.read(id))[0]))
        return found

    return asyncio.run(read())


def answered(chain: Chain) -> set[str]:
    """Uploads about which the application has answered."""
    return {one.id for one in manifests(chain) if one.state is UploadState.DONE}


def whole(status: Said, killed: list[int]) -> bool:
    """Whether the tier is complete again, in the eyes of every router."""
    runtime = [instance for instance in status["instances"] if instance["tier"] == "runtime"]
    return len(runtime) == 2 and all(i["phase"] == "admitted" and i["pid"] not in killed for i in runtime)


class Killer:
    """Kills instances that hold uploads, and knows which uploads' applications died with them while being asked."""

    def __init__(self, chain: Chain) -> None:
        self.killed: list[int] = []
        self.interrupted_handlers = Counter[str]()
        self._chain = chain

    def kill_holders(self) -> None:
        for pid in until(self._holders, "uploads at an instance"):
            self._kill(pid)

    def kill_one_holder(self) -> None:
        if holders := self._holders():
            self._kill(random.choice(holders))

    def _holders(self) -> list[int]:
        return [i["pid"] for i in self._chain.instances("runtime") if (i["in_flight"] or {"uploads": ()})["uploads"]]

    def _kill(self, pid: int) -> None:
        """Stopped first: what the store says then is what it was at when it died."""
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return  # it has just been drained
        until(lambda: _process_state(pid) in "TXZ", f"{pid} to stand still")
        asked = (one for one in manifests(self._chain) if one.state is UploadState.COMPLETE)
        self.interrupted_handlers.update(one.id for one in asked if f"-{pid}-" in one.holder)
        kill(pid)
        self.killed.append(pid)


def _process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]
    except FileNotFoundError:
        return "X"
