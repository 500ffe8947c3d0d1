"""Plain uploads behind a relay, while everything that stands behind it is replaced and killed.

What happens to them without it: a death breaks them, which is shown here, and a drain waits for them, which is shown in
`test_in_flight`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import threading
from collections.abc import Iterator
from typing import Self

import httpx
import pytest
from tests.chain.chains import PATIENCE, WITH_RELAY, Chain, Said, SlowUpload, kill, until
from tests.chain.conftest import own_chain

PIECE = 64 * 1024
PAUSE = 0.02
"""Seconds between two pieces: 3 MB/s, a segment every third of a second."""


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain with a relay that is up; every test leaves it whole."""
    with own_chain(tmp_path_factory.mktemp("relayed"), example=WITH_RELAY) as chain:
        chain.up()
        yield chain


class Trickle:
    """A chunked POST /upload that goes on and on, piece by piece, until it is told to come to its end."""

    def __init__(self, chain: Chain) -> None:
        self.ref = secrets.token_hex(8)
        self.sent = 0
        self.answer: httpx.Response | None = None
        self.error: httpx.HTTPError | None = None
        self._chain = chain
        self._digest = hashlib.sha256()
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish.set()
        self._thread.join(PATIENCE)

    def _send(self) -> None:
        try:
            with self._chain.client() as client:
                headers = {"X-Upload-Ref": self.ref}
                self.answer = client.post("/upload", content=self._pieces(), headers=headers)
        except httpx.HTTPError as error:
            self.error = error

    def _pieces(self) -> Iterator[bytes]:
        while not self._finish.wait(PAUSE):
            piece = os.urandom(PIECE)
            self._digest.update(piece)
            self.sent += PIECE
            yield piece

    def flows(self) -> None:
        """Wait until two segments more were sent, and insist that it has no answer yet."""
        before = self.sent
        until(lambda: self.sent - before > 2 * 1024 * 1024 or self.error or self.answer, "an upload that flows")
        assert (self.answer, self.error) == (None, None)

    def arrives(self) -> Said:
        """End it, and insist that its answer is the application's, which has it once and whole."""
        self.__exit__()
        assert self.answer is not None, self.error
        told: Said = self.answer.json()
        assert (self.answer.status_code, self.answer.headers["location"]) == (201, f"/upload/{told['id']}")
        assert (told["bytes"], told["sha256"]) == (self.sent, self._digest.hexdigest())
        assert told["instance"] == self.answer.headers["x-changeover-instance"]
        assert self._chain.get(f"/uploads?ref={self.ref}").json()["ids"] == [told["id"]]
        read = self._chain.get(f"/upload/{told['id']}/content").content
        assert hashlib.sha256(read).hexdigest() == told["sha256"]
        return told


def relays(chain: Chain, counter: str) -> int:
    """The sum of a counter over all relays."""
    total = 0
    for instance in chain.instances("relay"):
        text = httpx.get(f"http://{instance['control']}/metrics", trust_env=False).text
        found = re.search(rf"^changeover_relay_{counter}_total (\S+)$", text, re.MULTILINE)
        assert found is not None
        total += int(float(found[1]))
    return total


def runtime_killed(chain: Chain) -> None:
    """All of it, at once; and healed."""
    killed = {instance["pid"] for instance in chain.instances("runtime")}
    for pid in killed:
        kill(pid)

    def healed(told: Said) -> bool:
        found = [i for i in told["instances"] if i["tier"] == "runtime"]
        return len(found) == 2 and all(i["phase"] == "admitted" and i["pid"] not in killed for i in found)

    chain.until(healed, "new instances in the place of those that were killed")


def test_an_upload_is_in_flight_while_every_tier_behind_the_relay_is_replaced(relayed: Chain) -> None:
    with Trickle(relayed) as trickle, SlowUpload(relayed) as stalled:
        stalled.arrives("relay")
        for tier in ("runtime", "gateway", "l4"):
            trickle.flows()
            done = relayed.roll(tier, relayed.other(tier))
            assert [m["phase"] for m in done["instances"]].count("gone") == 2
            assert all(m["cut"] is None for m in done["instances"])
        trickle.flows()
        assert sum(len(i["in_flight"]["uploads"]) for i in relayed.instances("relay")) == 2
        assert stalled.on(stalled.arrives("relay"))
        told = trickle.arrives()
        stalled.finish()
    assert told["version"] == relayed.template("runtime")
    assert stalled.answer is not None, stalled.error
    assert stalled.answer.json()["sha256"] == hashlib.sha256(stalled.body).hexdigest()


def test_an_upload_survives_the_death_of_every_application(relayed: Chain) -> None:
    before = relays(relayed, "resumed")
    with Trickle(relayed) as trickle:
        trickle.flows()
        runtime_killed(relayed)
        trickle.flows()
        trickle.arrives()
    assert relays(relayed, "resumed") > before
    assert relays(relayed, "given_up") == 0


def test_without_a_relay_the_same_death_breaks_it(rolled: Chain) -> None:
    with Trickle(rolled) as trickle:
        trickle.flows()
        runtime_killed(rolled)
    assert trickle.error or (trickle.answer and trickle.answer.status_code in (502, 503, 504))


def test_the_relay_itself_drains_like_any_hop(relayed: Chain) -> None:
    with SlowUpload(relayed) as upload:
        holder = upload.arrives("relay")
        roll = relayed.start("roll", "relay", "--to", relayed.other("relay"), "--json")
        roll.says(holder["name"], "draining")
        answers = [relayed.get() for _ in itertools.repeat(None, 6)]
        assert {answer.status_code for answer in answers} == {200}
        (seen,) = [i for i in relayed.instances("relay") if i["name"] == holder["name"]]
        assert (seen["phase"], seen["pid"]) == ("draining", holder["pid"])
        assert seen["in_flight"]["bytes_left"] == upload.size - upload.size // 2
        upload.finish()
        done = roll.end(0).json
    assert upload.answer is not None, upload.error
    assert upload.answer.status_code == 201
    assert [m["cut"] for m in done["instances"] if m["name"] == holder["name"]] == [None]
