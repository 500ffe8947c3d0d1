"""The main job, whole, and its control: the same traffic over the same chain, once with care and once without."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import pytest
from tests.chain.chains import Chain, Done, Said, chain_file, running_in
from tests.chain.conftest import nothing_left
from tests.unit.json_page import insist

from changeover.cli.probed_command import CommandRun
from changeover.probe.records.ledger import read_ledger

pytestmark = pytest.mark.timeout(400)  # of which the main job takes about 120 s

OLD = ["creating", "warming", "ready", "admitted", "leaving", "draining", "drained", "stopping", "gone"]

TRAFFIC = ("--rate", 50, "--connections", 8, "--uploads", 2, "--upload-size", "6MB", "--upload-time", "2s")
"""What the demos send: enough that every roll has an upload to wait for."""


class Demo:
    """A `demo` that runs beside the tests, with a chain of its own."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        chain = Chain(folder, chain_file(folder))
        self._command = chain.start("demo", "-f", chain.file, "--json", *TRAFFIC, *more)

    @cached_property
    def done(self) -> Done:
        """What it left. Waits for its end."""
        return self._command.end(patience=300)

    @property
    def told(self) -> Said:
        return self.done.json

    def close(self) -> None:
        """End it, if nobody has waited for its end, and see that it took down its chain."""
        if "done" not in self.__dict__:
            self._command.signal(signal.SIGTERM).end()
        nothing_left(self.folder)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Demo]]:
    """The main job and its control, side by side."""
    options = {"careful": (), "naive": ("--naive",)}
    started = {name: Demo(tmp_path_factory.mktemp(name), *more) for name, more in options.items()}
    yield started
    for demo in started.values():
        demo.close()


@pytest.fixture
def careful(demos: Mapping[str, Demo]) -> Demo:
    """The main job: every tier rolled."""
    return demos["careful"]


@pytest.fixture
def naive(demos: Mapping[str, Demo]) -> Demo:
    """The control: every tier restarted the plain way."""
    return demos["naive"]


def test_every_tier_is_rolled_without_one_broken_request(careful: Demo) -> None:
    assert careful.done.code == 0, careful.done
    verdict = careful.told["verdict"]
    assert verdict["summary"].startswith("0 lost, 0 duplicated, 0 corrupted of ")
    assert (verdict["clean"], verdict["lost"], verdict["duplicated"], verdict["corrupted"]) == (True, 0, 0, 0)
    assert verdict["counts"]["get"]["ok"] == verdict["counts"]["get"]["sent"] > 300
    assert verdict["counts"]["upload"]["ok"] == verdict["counts"]["upload"]["sent"] >= 8
    assert verdict["uploads_read_back"] == verdict["counts"]["upload"]["sent"]
    assert [(r["tier"], r["from"], r["to"], r["outcome"]) for r in careful.told["rolls"]] == [
        (tier, "v1", "v2", "completed") for tier in ("runtime", "gateway", "l4", "edge")
    ]


def test_both_versions_were_seen(careful: Demo) -> None:
    verdict = careful.told["verdict"]
    assert set(verdict["gets_by_version"]) == {"v1", "v2"}
    assert set(verdict["uploads_by_version"]) == {"v1", "v2"}
    writers = set(verdict["uploads_by_instance"])
    assert any(name.startswith("runtime-v1-") for name in writers)
    assert any(name.startswith("runtime-v2-") for name in writers)


def test_uploads_were_under_way_in_every_roll(careful: Demo) -> None:
    uploads = [row for row in read_ledger(Path(careful.told["verdict"]["ledger"])) if row.kind == "upload"]
    assert careful.told["uploads"]["sent"] == len(uploads)
    assert 4 <= careful.told["uploads"]["overlapping_a_replacement"] <= len(uploads)
    for roll in careful.told["rolls"]:
        replaced = [member["times"]["leaving"] for member in roll["instances"] if member["template"] == "v1"]
        assert [row for row in uploads if any(row.started < moment < row.finished for moment in replaced)], roll["tier"]


def test_the_roll_tells_when_each_instance_entered_each_phase(careful: Demo) -> None:
    for roll in careful.told["rolls"]:
        old = [member for member in roll["instances"] if member["template"] == "v1"]
        new = [member for member in roll["instances"] if member["template"] == "v2"]
        assert (len(old), len(new)) == (2, 2)
        for members, phases in ((old, OLD), (new, OLD[:4])):
            for member in members:
                assert member["name"].startswith(f"{roll['tier']}-{member['template']}-")
                assert list(member["times"]) == phases
                assert list(member["times"].values()) == sorted(member["times"].values())
                assert (member["phase"], member["cut"]) == (phases[-1], None)
        # One after the other, and never fewer than two that serve.
        assert new[0]["times"]["admitted"] <= old[0]["times"]["leaving"]
        assert old[0]["times"]["gone"] <= new[1]["times"]["creating"]
        assert new[1]["times"]["admitted"] <= old[1]["times"]["leaving"]


def test_an_instance_is_stopped_soon_after_its_last_request(careful: Demo) -> None:
    idle = careful.told["seconds_from_last_in_flight_to_stop"]
    assert idle["instances"] >= 4
    assert 0 <= idle["median"] <= idle["max"] < 5


def test_the_report_is_kept_and_nothing_runs_any_more(careful: Demo) -> None:
    assert Path(careful.told["report"]).is_relative_to(careful.folder)
    assert careful.told["verdict"]["summary"] in Path(careful.told["report"]).read_text(encoding="utf-8")
    assert running_in(careful.folder) == {}


def test_what_the_jobs_and_their_probes_print_is_what_is_documented(careful: Demo, naive: Demo) -> None:
    ran = CommandRun(("true",)).to_dict()
    insist("demo", careful.told, naive.told)
    insist(
        "probe", careful.told["verdict"], naive.told["verdict"], {"kinds_without_success": ["upload"]}, {"command": ran}
    )


def test_plain_restarts_under_the_same_traffic_break_requests(naive: Demo) -> None:
    assert naive.done.code == 3, naive.done
    verdict = naive.told["verdict"]
    assert verdict["lost"] > 0
    assert not verdict["clean"]
    assert sum(verdict["failures_by_reason"].values()) >= verdict["lost"]
    assert verdict["failures_by_moving_tier"]
    broken = [row for row in read_ledger(Path(verdict["ledger"])) if row.outcome != "ok"]
    assert all(row.reason and row.tier_state for row in broken)
    assert running_in(naive.folder) == {}
