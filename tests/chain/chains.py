"""A chain under test, run through the command line as a user does, with a deadline on everything.

Its file is the example's with shorter times, so that what the tests drive is what a newcomer drives. Refuses to look
into the program: what a test knows it was told by an exit code, by an output, by a request, or by /proc.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import httpx
import yaml
from tests.forked import PROGRAM, Forked
from typer.testing import CliRunner

from changeover.cli.main import cli

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples/01-four-tiers/chain.yaml"
WITH_RELAY = REPOSITORY / "examples/02-upload-handover/chain.yaml"
PATIENCE = 60.0
"""Seconds within which every command and every awaited event must come, on two busy cores."""

ENVIRONMENT = {"COLUMNS": "1000", "NO_COLOR": "1"}
"""So that no message is broken into lines where a test looks for it."""

Said = dict[str, Any]
"""A chain file as data, or a command's JSON."""

Seen = TypeVar("Seen")


# -- chain files ---------------------------------------------------------------------------------------------------


def chain_file(
    folder: Path, *changes: Callable[[Said], None], example: Path = EXAMPLE, name: str = "chain.yaml"
) -> Path:
    """The example with times a test can wait for, and with whatever `changes` make of it."""
    said: Said = yaml.safe_load(example.read_text(encoding="utf-8"))
    for tier in said["tiers"]:
        tier["health"] = {"interval": "100ms", "rise": 1, "fall": 2}
        tier["update"] = {"min_ready": "100ms", "progress_deadline": "60s"}
        tier["drain"] = {"deadline": "60s"}
    for template in tier_of(said, "edge")["templates"].values():
        template["keepalive_time"] = "500ms"
        template["keepalive_timeout"] = "2s"
        template["upstream_keepalive_time"] = "500ms"
        template["upstream_keepalive_timeout"] = "500ms"
    for change in changes:
        change(said)
    file = folder / name
    file.write_text(yaml.safe_dump(said, sort_keys=False))
    return file


def tier_of(said: Said, name: str) -> Said:
    found: Said = next(tier for tier in said["tiers"] if tier["name"] == name)
    return found


def template(tier: str, name: str, **settings: Any) -> Callable[[Said], None]:
    """A change: that template of that tier, made from its v2 with other settings."""

    def change(said: Said) -> None:
        templates = tier_of(said, tier)["templates"]
        templates[name] = {**templates["v2"], **settings}

    return change


def small(said: Said) -> None:
    """A change: the smallest chain in which somebody has to confirm a rollout, with short steps and a short bake."""
    said["tiers"] = [tier_of(said, "gateway"), tier_of(said, "runtime")]
    tier_of(said, "gateway")["size"] = 1
    tier_of(said, "runtime")["update"] |= {"steps": [{"set_weight": 50}, {"pause": "200ms"}], "bake": "200ms"}


def as_canary(said: Said, steps: Sequence[Said], **update: Any) -> None:
    """A change: the runtime is rolled as a canary with these steps. A key of another strategy is refused then."""
    given = tier_of(said, "runtime")["update"]
    given.pop("bake", None)
    given |= {"strategy": "canary", "steps": list(steps), **update}


def sticky(said: Said) -> None:
    """A change: who has a session keeps its instance."""
    tier_of(said, "gateway")["affinity"] = "client-ip"
    tier_of(said, "runtime")["affinity"] = {"cookie": "route"}


# -- commands ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Said:
        told: Said = json.loads(self.out)
        return told

    def __str__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


class Command:
    """A running `changeover WORDS`, whose standard error is read as it comes."""

    running: ClassVar[set[Command]] = set()
    """Those whose end nobody has waited for."""

    def __init__(self, words: Sequence[object], folder: Path, program: Path | Sequence[str] = PROGRAM) -> None:
        """`program`: a script to run in its place; or what an own Python is started with."""
        said, env = list(map(str, words)), {**os.environ, **ENVIRONMENT}
        self.process: Forked | subprocess.Popen[str]
        if isinstance(program, Path):
            self.process = Forked(said, cwd=folder, env=env, program=program)
        else:
            self.process = subprocess.Popen(
                [sys.executable, *program, *said],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self._out, self._err = self.process.stdout, self.process.stderr
        self._lines: list[str] = []
        self._read: list[str] = []
        self._news = threading.Condition()
        self._readers = [threading.Thread(target=self._read_err), threading.Thread(target=self._read_out)]
        for reader in self._readers:
            reader.start()
        self.running.add(self)

    def _read_err(self) -> None:
        assert self._err is not None
        for line in self._err:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._lines.append("")  # the end: no line of a file is empty
            self._news.notify_all()

    def _read_out(self) -> None:
        assert self._out is not None
        self._read.append(self._out.read())

    def says(self, *words: str) -> str:
        """Wait for a line on standard error with all these words, and return it."""

        def found() -> str | None:
            return next((line for line in self._lines if all(word in line for word in words)), None)

        with self._news:
            self._news.wait_for(lambda: found() or "" in self._lines, PATIENCE)
            line = found()
        assert line is not None, f"never said {words}:\n" + "".join(self._lines)
        return line

    @property
    def last(self) -> str:
        """The last line that it wrote to standard error."""
        with self._news:
            return next((line for line in reversed(self._lines) if line), "")

    def signal(self, number: signal.Signals) -> Self:
        self.process.send_signal(number)
        return self

    def end(self, code: int | None = None, *, patience: float = PATIENCE) -> Done:
        """Wait for its end, and insist on its exit code."""
        self.running.discard(self)
        ended = True
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            self.process.kill()
            self.process.wait()
            for reader in self._readers:
                reader.join(PATIENCE)
            for stream in (self._out, self._err):
                assert stream is not None
                stream.close()
        done = Done(self.process.wait(), "".join(self._read), "".join(self._lines))
        assert ended, f"did not end within {patience:.0f} s: {done}"
        assert code is None or done.code == code, done
        return done


def here(*words: object, code: int | None = 0) -> Done:
    """Run a short command inside this process: the same one, without the half second that Python takes to start."""
    ran = CliRunner(env=ENVIRONMENT).invoke(cli, list(map(str, words)), catch_exceptions=False)
    done = Done(ran.exit_code, ran.stdout, ran.stderr)
    assert code is None or done.code == code, done
    return done


class Chain:
    """One chain: its folder, its file, its commands, and clients for its edge."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder = folder
        self.file = file
        self.state = folder / "its state"  # a space, to see that nothing minds
        self.edge_url = ""
        self.ca_file = ""
        self.processes: set[int] = set()
        """What `up` found or started."""

    def start(self, *words: object) -> Command:
        return Command([*words, "--state", self.state], self.folder)

    def run(self, *words: object, code: int | None = 0) -> Done:
        return self.start(*words).end(code)

    def up(self) -> Said:
        told = self.run("up", "-f", self.file, "--json").json
        self.edge_url, self.ca_file = told["edge_url"], told["ca_file"]
        self.processes = {i["pid"] for i in told["instances"]}
        return told

    def down(self) -> Said:
        return self.run("down", "--json").json

    def here(self, *words: object, code: int | None = 0) -> Done:
        """Run a short command inside this process."""
        return here(*words, "--state", self.state, code=code)

    def status(self) -> Said:
        return self.here("status", "--json").json

    def roll(self, tier: str, to: str, *more: object, code: int = 0) -> Said:
        return self.run("roll", tier, "--to", to, "--json", *more, code=code).json

    def instances(self, tier: str, *, phase: str | None = None) -> list[Said]:
        return [i for i in self.status()["instances"] if i["tier"] == tier and phase in (None, i["phase"])]

    def template(self, tier: str) -> str:
        """What that tier runs, or is on its way to."""
        return next(str(t["template"]) for t in self.status()["tiers"] if t["name"] == tier)

    def other(self, tier: str) -> str:
        """The one of v1 and v2 that it does not run."""
        return {"v1": "v2", "v2": "v1"}[self.template(tier)]

    def until(self, holds: Callable[[Said], object], what: str) -> Said:
        """Ask for the status until it is so. That takes a tenth of a second of CPU, so the pauses are as long."""
        return until(lambda: seen if holds(seen := self.status()) else None, what, pause=0.1)

    @contextmanager
    def client(self, **options: Any) -> Iterator[httpx.Client]:
        """A client that trusts this chain and retries nothing."""
        with httpx.Client(base_url=self.edge_url, verify=trust(self.ca_file), **CLIENT, **options) as client:
            yield client

    def get(self, path: str = "/hello") -> httpx.Response:
        """One GET on a connection of its own."""
        with self.client() as client:
            return client.get(path)

    def serves(self, tier: str, version: str) -> set[int]:
        """Insist that the whole tier is that version, at rest, and that requests get through; return its processes."""
        told = self.status()
        there = sorted((i["phase"], i["template"]) for i in told["instances"] if i["tier"] == tier)
        size = next(t["size"] for t in told["tiers"] if t["name"] == tier)
        assert there == [("admitted", version)] * size, told
        answers = [self.get() for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 6
        if tier == "runtime":
            assert {answer.json()["version"] for answer in answers} == {version}
        if tier in ("edge", "gateway"):
            assert {answer.headers[f"x-{tier}-version"] for answer in answers} == {version}
        return {i["pid"] for i in told["instances"] if i["tier"] == tier}


CLIENT: dict[str, Any] = {"trust_env": False, "timeout": 20.0}


def trust(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


# -- a slow upload -------------------------------------------------------------------------------------------------


class SlowUpload:
    """A POST that sends its first half at once and the rest when it is told to."""

    def __init__(self, chain: Chain, size: int = 4_000_000, *, http2: bool = False, path: str = "/upload") -> None:
        self.size = size
        self._path = path
        self._http2 = http2
        self.body = os.urandom(size)
        self.answer: httpx.Response | None = None
        self.error: httpx.HTTPError | None = None
        self._chain = chain
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _send(self) -> None:
        headers = {"Content-Length": str(self.size)}
        try:
            with self._chain.client(http2=self._http2) as client:
                self.answer = client.post(self._path, content=self._pieces(), headers=headers)
        except httpx.HTTPError as error:
            self.error = error

    def _pieces(self) -> Iterator[bytes]:
        half = self.size // 2
        yield self.body[:half]
        self._finish.wait()  # for as long as its test takes: whoever leaves the `with` block finishes it
        yield self.body[half:]

    def arrives(self, tier: str = "runtime") -> Said:
        """Wait until an instance of that tier has half of it, and return that instance's status."""
        instances: list[Said] = []

        def holder() -> Said | None:
            instances[:] = self._chain.instances(tier)
            return next((i for i in instances if self.on(i)), None)

        try:
            return until(holder, "the upload at an instance")
        except AssertionError as error:
            self.finish()  # an answer that came early is read only now
            end = f"{self.answer}: {self.answer.text}" if self.answer else repr(self.error)
            raise AssertionError(f"{error}; it ended with {end}; there were {instances}") from None

    def on(self, instance: Said) -> bool:
        """Whether that instance has got the half that was sent."""
        uploads = (instance["in_flight"] or {"uploads": []})["uploads"]
        return any(u["expected"] == self.size and u["received"] == self.size // 2 for u in uploads)

    def finish(self) -> None:
        """Send the rest and wait for the answer."""
        self._finish.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


# -- what runs -----------------------------------------------------------------------------------------------------


def until(look: Callable[[], Seen | None], what: str, patience: float = PATIENCE, *, pause: float = 0.02) -> Seen:
    """Look until there is something to see, with a short pause between looks: what is awaited needs the cores, too."""
    deadline = time.monotonic() + patience
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain for {what}"
        time.sleep(pause)


def running_in(folder: Path) -> dict[int, str]:
    """Processes that work in a folder or below it: pid -> command line. A zombie works nowhere."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink().is_relative_to(folder):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(entry.name)] = line.strip()
            except OSError:
                continue
    return found


def kill(pid: int) -> None:
    """SIGKILL that process, and nothing it has started."""
    os.kill(pid, signal.SIGKILL)
