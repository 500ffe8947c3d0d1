"""Sessions while the tier they are at is rolled: who has one stays, until the instance that it is at is replaced."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from itertools import pairwise

import httpx
from tests.chain.chains import Chain, until

REPLACED = 2


class Sessions:
    """Clients that ask one after the other, again and again, each on a connection and with a cookie jar of its own."""

    def __init__(self, chain: Chain, count: int, *, keep_cookies: bool = True) -> None:
        self.seen: list[list[str]] = [[] for _ in range(count)]
        """For every session, who answered, in order; what went wrong stands there too."""
        self._chain, self._keep = chain, keep_cookies
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Sessions:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(self._chain.client()) for _ in self.seen]
            while not self._stop.is_set():
                for client, seen in zip(clients, self.seen, strict=True):
                    self._stop.wait(0.02)  # what they ask for is what the roll lacks
                    seen.append(_who(client))
                    if not self._keep:
                        client.cookies.clear()

    @property
    def rounds(self) -> int:
        return len(self.seen[-1])

    def moves(self) -> list[list[tuple[str, str]]]:
        return [[(was, now) for was, now in pairwise(seen) if was != now] for seen in self.seen]


def _who(client: httpx.Client) -> str:
    try:
        answer = client.get("/hello")
        return str(answer.json()["instance"]) if answer.status_code == 200 else f"{answer.status_code}"
    except httpx.HTTPError as error:
        return repr(error)


def test_every_session_moves_at_most_once_for_each_instance_that_is_replaced(rolled: Chain) -> None:
    goal = rolled.other("runtime")
    old = {i["name"] for i in rolled.instances("runtime", phase="admitted")}
    probe = rolled.start("probe", "--rate", 20, "--uploads", 2, "--upload-size", "1MB", "--upload-time", "1s", "--json")
    probe.says(" 2 in flight")
    with Sessions(rolled, 10) as sessions, Sessions(rolled, 1, keep_cookies=False) as strangers:
        until(lambda: sessions.rounds >= 3, "sessions")
        assert all(len({*seen}) == 1 for seen in sessions.seen)
        told = rolled.roll("runtime", goal)
        rounds = sessions.rounds
        until(lambda: sessions.rounds > rounds + 2, "every session after the roll")
    done = probe.signal(signal.SIGTERM).end(0)
    new = {i["name"] for i in rolled.instances("runtime", phase="admitted")}
    assert (len(told["instances"]), len(old), len(new & old)) == (2 * REPLACED, REPLACED, 0)
    assert done.json["summary"].startswith("0 lost, 0 duplicated, 0 corrupted of ")
    for seen, moves in zip(sessions.seen, sessions.moves(), strict=True):
        assert {*seen} <= old | new, seen  # an error would stand among the names
        left = [was for was, _ in moves]
        assert 1 <= len(left) <= REPLACED
        assert len({*left} & old) == len(left), f"moved from an instance that nobody replaced, or twice: {moves}"
    assert all(len(moves) > REPLACED for moves in strangers.moves()), "who keeps no cookies is counted as moving"


def test_without_affinity_a_session_goes_to_and_fro_and_is_given_no_cookie(resting: Chain) -> None:
    with Sessions(resting, 1) as sessions:
        until(lambda: sessions.rounds > 10, "requests")
    assert len(sessions.moves()[0]) > REPLACED
    assert "set-cookie" not in resting.get().headers
