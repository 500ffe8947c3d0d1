from __future__ import annotations

from pathlib import Path

import pytest

from changeover import wiring
from changeover.cli.chain_traffic import traffic_of
from changeover.model.errors import ChangeoverError
from changeover.model.probe import Get, ProbeSettings
from changeover.probe.example import EXAMPLE

CHAIN = """
name: own
tiers:
  - name: web
    kind: app
    templates: {v1: {TEMPLATE}}
"""


def wired(folder: Path, template: str, more: str = "") -> wiring.Wired:
    (folder / "chain.yaml").write_text(CHAIN.replace("{TEMPLATE}", template) + more)
    return wiring.wire(folder / "chain.yaml", folder / "state")


def test_the_example_application_gets_the_traffic_that_it_answers(tmp_path: Path) -> None:
    assert traffic_of(wired(tmp_path, "{}")) == EXAMPLE


def test_another_application_gets_the_traffic_of_its_chain_file(tmp_path: Path) -> None:
    found = traffic_of(wired(tmp_path, "{command: [my-app]}", "probe: {get: [{path: /shop}], rate: 5}"))
    assert found == ProbeSettings(get=(Get(path="/shop"),), rate=5)


def test_nothing_is_sent_to_another_application_of_which_nothing_is_known(tmp_path: Path) -> None:
    chain = wired(tmp_path, "{command: [my-app]}")
    with pytest.raises(ChangeoverError, match="has no `probe`, and tier web runs another application"):
        traffic_of(chain)
    assert traffic_of(chain, paths_given=True) == ProbeSettings()
