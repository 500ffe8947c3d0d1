from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.unit.probe.rows import row

from changeover.engine.metrics.ledger import LedgerReader, Versions
from changeover.engine.metrics.traffic import TrafficWitness
from changeover.ports import Unknown
from changeover.probe.records.ledger import Ledger
from changeover.rollout.guard.cohorts import CohortMember, Cohorts

COHORTS = Cohorts(100.0, "v2", (CohortMember("web-v2-2", 99.0),), "v1", (CohortMember("web-v1-1", 1.0),), False)


class Routers:
    """Answers that follow each other; the last one is repeated. None: no answer."""

    def __init__(self, *answers: Mapping[str, int] | None) -> None:
        self.answers = list(answers)

    async def __call__(self) -> Mapping[str, int]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise Unknown("no answer")
        return answer


def asked(witness: TrafficWitness, times: int = 1) -> str:
    async def go() -> str:
        await witness.begin()
        for _ in range(times - 1):
            await witness.missing(COHORTS)
        return await witness.missing(COHORTS)

    return asyncio.run(go())


def ledger(folder: Path, *instances: str | None) -> LedgerReader:
    path = folder / "ledger.jsonl"
    with Ledger(path) as book:
        for instance in instances:
            book.record(row(instance=instance, scheduled=101.0, started=101.0, finished=101.5))
        book.record(row(instance="web-v2-2", scheduled=98.0, started=98.0, finished=99.5))  # before the step
    return LedgerReader(path)


def test_what_the_routers_pass_to_a_new_instance_is_traffic() -> None:
    assert asked(TrafficWitness(Routers({"web-v2-2": 5}, {"web-v2-2": 6}), None)) == ""


def test_what_was_passed_before_the_step_is_not() -> None:
    routers = Routers({"web-v2-2": 5, "web-v1-1": 1}, {"web-v2-2": 5, "web-v1-1": 9})
    assert asked(TrafficWitness(routers, None)) == "no request reached web-v2-2 in this step"


def test_routers_that_count_decide_whatever_the_ledger_holds(tmp_path: Path) -> None:
    witness = TrafficWitness(Routers({"web-v2-2": 5}), ledger(tmp_path, "web-v2-2"))
    assert asked(witness) == "no request reached web-v2-2 in this step"


def test_traffic_stays_seen_when_the_routers_fall_silent() -> None:
    assert asked(TrafficWitness(Routers({"web-v2-2": 5}, {"web-v2-2": 6}, None), None), times=3) == ""


@pytest.mark.parametrize("routers", [None, Routers(None)], ids=["do not count", "do not answer"])
def test_the_rows_of_the_probe_stand_in_where_the_routers(tmp_path: Path, routers: Routers | None) -> None:
    assert asked(TrafficWitness(routers, ledger(tmp_path, "web-v1-1", "web-v2-2"))) == ""


def test_rows_of_the_old_instances_alone_are_no_traffic(tmp_path: Path) -> None:
    assert asked(TrafficWitness(None, ledger(tmp_path, "web-v1-1"))) == "no request reached web-v2-2 in this step"


def test_rows_of_the_new_version_are_traffic_where_no_response_names_its_instance(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as book:
        for version in ("1.4", "1.5"):
            book.record(row(instance=None, version=version, scheduled=101.0, started=101.0, finished=101.5))
    assert asked(TrafficWitness(None, LedgerReader(path), Versions({"v1": "1.4", "v2": "1.5"}))) == ""
    other = Versions({"v1": "1.5", "v2": "1.6"})
    assert asked(TrafficWitness(None, LedgerReader(path), other)) == "no request reached web-v2-2 in this step"


def test_where_nothing_can_show_traffic_there_is_none(tmp_path: Path) -> None:
    assert asked(TrafficWitness(None, None)).startswith("nothing shows whether requests reach web-v2-2")
    assert asked(TrafficWitness(None, ledger(tmp_path, None))).startswith("nothing shows whether requests reach")
