"""The examples of docs/own_application.md, each on its server, rolled under load by clients that are not the probe.

Two rolls, a canary and an undo lose nothing; a plain restart of the same instances behind the same balancer does.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import yaml
from tests.chain.chains import REPOSITORY, Chain, Command, Said, running_in, tier_of, until
from tests.process.load_clients import MISSING, Ab, Counted, LoadClient, Wrk

PAGE = (REPOSITORY / "docs/own_application.md").read_text(encoding="utf-8")
PYTHON_PROGRAMS = ("gunicorn", "uvicorn", "hypercorn", "granian")
ROLL_PATIENCE = 120.0
"""Seconds for a roll of two instances: each waits for the edge's connections, which last 8 s by the times of init."""

pytestmark = pytest.mark.skipif(bool(MISSING), reason="scripts/install-packages apache2-utils wrk")


@dataclass(frozen=True)
class Example:
    """A section of the page: its files, and the words of its `changeover init`."""

    files: dict[str, str]
    init: tuple[str, ...]

    def changed(self, name: str, was: str, text: str) -> Example:
        assert was in self.files[name]
        return replace(self, files={**self.files, name: self.files[name].replace(was, text)})


def examples() -> dict[str, Example]:
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith("Examples\n"))
    files: dict[str, str] = {}  # later sections use those of earlier ones
    found = {}
    for part in text.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        named = re.search(r"^`([\w.]+)`", body, re.MULTILINE)
        blocks = re.findall(r"^```\w+\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
        if named:
            files[named[1]] = blocks[0]
        program, *words = shlex.split(blocks[-1])
        assert program == "changeover", title
        found[title] = Example(dict(files), tuple(words))
    return found


EXAMPLES = examples()
NO_EXEC = "A shell script that stays the parent of its server"
EXAMPLES[NO_EXEC] = EXAMPLES["A shell script"].changed("run.sh", "exec ", "")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of this environment under their names, as on the PATH of an activated one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in (*PYTHON_PROGRAMS, "python3"):
        program = folder / name
        module = f"-m {name} " if name in PYTHON_PROGRAMS else ""
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def chain(tmp_path: Path, programs: None) -> Iterator[Chain]:
    chain = Chain(tmp_path, tmp_path / "chain.yaml")
    try:
        yield chain
    finally:
        if running_in(tmp_path):
            chain.run("down")
    assert running_in(tmp_path) == {}


def write(chain: Chain, example: Example, *options: object) -> None:
    for name, text in example.files.items():
        (chain.folder / name).write_text(text)
    for version in ("v1", "v2"):
        (chain.folder / version).mkdir()
        for page in ("index.html", "report"):
            (chain.folder / version / page).write_text(version)
    Command([*example.init, "--port", 0, *options], chain.folder).end(0)
    said: Said = yaml.safe_load(chain.file.read_text(encoding="utf-8"))
    app = tier_of(said, "app")
    for template in app["templates"].values():
        template["env"] = {**template.get("env", {}), "VERSION": "{version}"}
    chain.file.write_text(yaml.safe_dump(said, sort_keys=False))
    pause(chain, "3s")


def pause(chain: Chain, time: str) -> None:
    """How long a canary lasts with half of the traffic."""
    said: Said = yaml.safe_load(chain.file.read_text(encoding="utf-8"))
    tier_of(said, "app")["update"]["steps"] = [{"set_weight": 50}, {"pause": time}]
    chain.file.write_text(yaml.safe_dump(said, sort_keys=False))


def shorten(chain: Chain) -> None:
    """Times that `make test` can wait for."""
    said: Said = yaml.safe_load(chain.file.read_text(encoding="utf-8"))
    for template in tier_of(said, "edge")["templates"].values():
        template |= {"upstream_keepalive_time": "500ms", "upstream_keepalive_timeout": "500ms"}
    tier_of(said, "app")["health"] |= {"interval": "100ms", "rise": 1, "fall": 2}
    tier_of(said, "app")["update"] |= {"min_ready": "100ms"}
    chain.file.write_text(yaml.safe_dump(said, sort_keys=False))


def serves(chain: Chain, version: str) -> None:
    assert {i["template"] for i in chain.instances("app", phase="admitted")} == {version}
    assert {chain.get("/").text.strip('"') for _ in range(4)} == {version}


def load(chain: Chain) -> list[LoadClient]:
    return [Wrk(f"{chain.edge_url}/", chain.folder), Ab(f"{chain.edge_url}/report")]


def counted(clients: list[LoadClient]) -> list[Counted]:
    every = [client.end() for client in clients]
    assert all(one.answered for one in every), every
    return every


@pytest.mark.fuzz
@pytest.mark.timeout(600)
@pytest.mark.parametrize("title", EXAMPLES)
def test_no_request_is_lost_with_the_times_of_init(title: str, chain: Chain) -> None:
    write(chain, EXAMPLES[title])
    prove(title, chain)


@pytest.mark.timeout(240)
def test_no_request_is_lost_by_two_rolls_a_canary_and_an_undo(chain: Chain) -> None:
    title = "gunicorn with FastAPI"
    write(chain, EXAMPLES[title], "--size", 1)
    shorten(chain)
    prove(title, chain)


def prove(title: str, chain: Chain) -> None:
    chain.up()
    serves(chain, "v1")
    with ExitStack() as running:
        clients = [running.enter_context(client) for client in load(chain)]
        roll(chain, "v2")
        roll(chain, "v1")
        roll(chain, "v2", "--strategy", "canary")
        pause(chain, "10m")
        undone = chain.start("roll", "app", "--to", "v1", "--strategy", "canary", "--json")
        until(lambda: "v1" in chain.get("/").text, "an answer of the version that is undone")
        chain.run("abort")
        undone.end(1, patience=ROLL_PATIENCE)
        serves(chain, "v2")
        rolled = counted(clients)
    print(title, *rolled, sep="\n")
    assert [one.lost for one in rolled] == [0, 0], "\n".join(map(str, rolled))
    control = restarted_plainly(chain)
    print("control", *control, sep="\n")
    assert sum(one.lost for one in control) > 0, "a plain restart lost nothing: the clients would not notice a loss"


def roll(chain: Chain, to: str, *options: str) -> None:
    done = chain.start("roll", "app", "--to", to, "--json", *options).end(0, patience=ROLL_PATIENCE)
    assert done.json["outcome"] == "completed"
    serves(chain, to)


def restarted_plainly(chain: Chain) -> list[Counted]:
    """Each instance gets its stop signal while it serves, as by `systemctl restart`; the keeper starts a new one."""
    with ExitStack() as running:
        clients = [running.enter_context(client) for client in load(chain)]
        before = chain.instances("app", phase="admitted")
        for instance in before:
            os.killpg(instance["pid"], signal.SIGTERM)
        old = {instance["name"] for instance in before}

        def replaced() -> bool:
            admitted = {instance["name"] for instance in chain.instances("app", phase="admitted")}
            return len(admitted - old) == len(old)

        until(replaced, "new instances for those that were stopped")
        until(lambda: answers(chain), "an answer after the restart")
        return counted(clients)


def answers(chain: Chain) -> bool:
    try:
        return chain.get("/").is_success
    except httpx.HTTPError:
        return False
