"""What is in flight while its instance is replaced: finished, or, where the chain file says so, cut and reported."""

from __future__ import annotations

import hashlib
import signal
import threading

import pytest
from tests.chain import http2
from tests.chain.chains import Chain, SlowUpload, chain_file, running_in, sticky, tier_of, trust


@pytest.fixture
def runtime_goal(rolled: Chain) -> str:
    """The template that the runtime does not run just now."""
    return rolled.other("runtime")


def test_an_http2_client_loses_nothing_while_the_edge_is_rolled(rolled: Chain) -> None:
    stop = threading.Event()
    versions: list[str] = []
    wrong: list[object] = []
    counts = []

    def ask() -> None:
        with http2.Client(rolled.edge_url, trust(rolled.ca_file), timeout=40) as client:
            try:
                while not stop.is_set():
                    for answer in client.get(["/hello", "/blob/2000", "/hello"]):
                        versions.append(answer.headers["x-edge-version"])
                        if answer.status != 200:
                            wrong.append(answer)
            except OSError as error:
                wrong.append(error)
            counts.append((client.connections, client.refused))

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        rolled.roll("edge", rolled.other("edge"))
    finally:
        stop.set()
        for client in clients:
            client.join(40)
    assert not wrong
    assert set(versions) == {"v1", "v2"}
    assert len(counts) == len(clients)
    for connections, _ in counts:
        assert 1 < connections < len(versions) / 6  # replaced because told to, and otherwise kept


def test_a_slow_upload_finishes_on_the_instance_that_drains(rolled: Chain, runtime_goal: str) -> None:
    with SlowUpload(rolled, http2=True) as upload:
        holder = upload.arrives()
        roll = rolled.start("roll", "runtime", "--to", runtime_goal, "--json")
        roll.says(holder["name"], "draining")

        seen = rolled.status()
        mine = next(i for i in seen["instances"] if i["name"] == holder["name"])
        assert (mine["phase"], mine["template"], mine["pid"]) == ("draining", holder["template"], holder["pid"])
        assert mine["in_flight"]["requests"] == 1
        assert upload.on(mine)
        assert mine["in_flight"]["bytes_left"] == upload.size - upload.size // 2
        assert 0 < mine["drain_seconds_left"] <= 60
        assert seen["active_command"] == {"pid": roll.process.pid, "command": f"roll runtime to {runtime_goal}"}
        assert holder["name"] not in {rolled.get().json()["instance"] for _ in range(10)}
        for words in (("roll", "runtime", "--to", runtime_goal), ("roll", "edge", "--to", "v1"), ("down",)):
            refused = rolled.here(*words, code=2)
            assert f"roll runtime to {runtime_goal} (process {roll.process.pid})" in refused.err
            assert "Nothing was changed" in refused.err
        assert any(" keep " in command for command in running_in(rolled.state).values())

        upload.finish()
        done = roll.end(0).json
    assert upload.answer is not None, upload.error
    assert upload.answer.status_code == 201
    told = upload.answer.json()
    assert (told["instance"], told["version"]) == (holder["name"], holder["template"])
    assert told["sha256"] == hashlib.sha256(upload.body).hexdigest()
    assert rolled.get(f"/upload/{told['id']}/content").content == upload.body
    member = next(m for m in done["instances"] if m["name"] == holder["name"])
    assert (member["phase"], member["cut"]) == ("gone", None)
    assert member["times"]["draining"] <= member["last_in_flight_at"] <= member["times"]["stopping"]
    assert member["seconds_from_last_in_flight_to_stop"] < 5
    rolled.serves("runtime", runtime_goal)


def test_an_upload_that_outlives_the_deadline_is_cut_and_reported_where_the_policy_says_so(
    rolled: Chain, runtime_goal: str
) -> None:
    def impatient(said: dict[str, object]) -> None:
        tier_of(said, "runtime")["drain"] = {"deadline": "500ms", "policy": "cut"}

    file = chain_file(rolled.folder, sticky, impatient, name="impatient.yaml")
    with SlowUpload(rolled) as upload:
        holder = upload.arrives()
        roll = rolled.start("roll", "runtime", "--to", runtime_goal, "--json", "-f", file)
        roll.says(holder["name"], "drain deadline passed: cutting 1 upload with 2.0 MB to come")
        told = roll.end(3).json
    assert upload.error or (upload.answer and upload.answer.status_code in (502, 503))
    assert told["outcome"] == "completed"
    cut = {member["name"]: member["cut"] for member in told["instances"]}
    assert cut.pop(holder["name"]).startswith("1 upload with 2.0 MB to come")
    assert set(cut.values()) == {None}
    rolled.serves("runtime", runtime_goal)


@pytest.mark.parametrize(
    ("tier", "stops"),
    [
        ("runtime", (("warming", signal.SIGKILL), ("draining", signal.SIGTERM), ("warming", signal.SIGINT))),
        ("edge", (("draining", signal.SIGKILL), ("warming", signal.SIGKILL))),
    ],
    ids=["runtime", "edge"],
)
def test_a_roll_that_is_stopped_again_and_again_is_carried_on_without_a_lost_request(
    rolled: Chain, tier: str, stops: tuple[tuple[str, signal.Signals], ...]
) -> None:
    came_from, goal = rolled.template(tier), rolled.other(tier)
    traffic = ("--rate", 60, "--connections", 6, "--uploads", 2, "--upload-size", "3MB", "--upload-time", "1500ms")
    probe = rolled.start("probe", "--json", *traffic)
    probe.says(" 2 in flight")
    for moment, number in stops:
        roll = rolled.start("roll", tier, "--to", goal)
        roll.says(f" {moment} ")
        stopped = roll.signal(number).end(-signal.SIGKILL if number is signal.SIGKILL else 2)
        if number is not signal.SIGKILL:
            assert "interrupted before the command was done" in stopped.err
            assert "Run the command again, or `changeover resume`" in stopped.err
            assert "Traceback" not in stopped.err
    told = rolled.roll(tier, goal)
    verdict = probe.signal(signal.SIGTERM).end().json
    assert verdict["summary"].startswith("0 lost, 0 duplicated, 0 corrupted of ")
    assert verdict["clean"]
    assert (told["outcome"], told["from"], told["to"]) == ("completed", came_from, goal)
    gone = [m for m in told["instances"] if m["phase"] == "gone"]
    assert [m["template"] for m in gone] == [came_from] * 2
    rolled.serves(tier, goal)
