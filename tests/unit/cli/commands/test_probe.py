"""What `probe` prints and its exit code. The traffic itself: tests/unit/probe and tests/process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.standing import StandingChain
from typer.testing import CliRunner

from changeover.cli.commands.probe import progress_line
from changeover.cli.exits import COULD_NOT, INTERRUPTED
from changeover.cli.ledgers import LedgerPlace, ledger_place, new_ledger
from changeover.cli.main import cli
from changeover.probe.records.ledger import read_ledger
from changeover.probe.traffic import ProbeProgress
from changeover.report.requests import ledger_file


def test_a_server_that_does_not_answer_is_an_interruption_and_the_ledger_stays(tmp_path: Path) -> None:
    words = ("http://127.0.0.1:9", "--duration", "200ms", "--rate", "20", "--json")
    broken = StandingChain(tmp_path).run("probe", *words)
    assert broken.code == INTERRUPTED
    assert broken.json["lost"] > 0
    assert Path(broken.json["ledger"]).read_text(encoding="utf-8")


def test_without_a_url_the_chain_must_be_up(tmp_path: Path) -> None:
    refused = StandingChain(tmp_path).run("probe")
    assert refused.code == COULD_NOT
    assert "no chain is up" in refused.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("127.0.0.1:9",), "not an http:// or https:// address"),
        (("http://127.0.0.1:9", "--rate", "0"), "proves nothing"),
        (("http://127.0.0.1:9", "--body", "1MB"), "--body has no effect, because no upload is sent"),
        (("http://127.0.0.1:9", "--get", "shop"), "--get shop: path"),
        (("http://127.0.0.1:9", "--insecure", "--ca", "x"), "TLS options: `insecure` accepts any certificate"),
        (("http://127.0.0.1:9", "-f", "chain.yaml"), "a URL or --config cannot be combined with --file"),
        (("https://127.0.0.1:9", "--cert", "none.pem"), "certificate and its key cannot be used"),
    ],
)
def test_what_the_probe_cannot_do_is_refused_before_anything_is_sent(
    tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    refused = StandingChain(tmp_path).run("probe", *words)
    assert refused.code == COULD_NOT
    assert what in refused.err


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("url: http://127.0.0.1:9\nget: [{pth: /x}]", "probe.yaml:2: get.0.pth: no such key Did you mean path?"),
        ("get: [{path: /x}]", "probe.yaml:1: url: this key is missing"),
        ("url: 127.0.0.1:9", "probe.yaml:1: url: this is not an http:// or https:// address"),
        ("url: http://h\nheaders: {Connection: close}", "the program sets the header Connection itself"),
        ("url: https://h\ntls: {key: k.pem}", "`key` belongs to a `certificate`"),
        ("url: http://h\npost: [{path: /in, digest: {field: a, header: b}}]", "either in a `field`"),
        ("url: http://h\nversion_pattern: '('", "this is not a regular expression"),
    ],
)
def test_a_mistake_in_a_probe_yaml_is_named_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "probe.yaml").write_text(text)
    refused = StandingChain(tmp_path).run("probe", "--config", tmp_path / "probe.yaml")
    assert refused.code == COULD_NOT
    assert what in refused.err


def test_a_token_in_a_probe_yaml_is_in_no_message(tmp_path: Path) -> None:
    (tmp_path / "probe.yaml").write_text('url: http://h\nheaders: {Authorization: "Bearer s3cret\\n"}')
    refused = StandingChain(tmp_path).run("probe", "--config", tmp_path / "probe.yaml")
    assert refused.code == COULD_NOT
    assert "Authorization" in refused.err
    assert "s3cret" not in refused.err


def test_a_probe_yaml_names_the_traffic_and_options_change_it(tmp_path: Path) -> None:
    text = "url: http://127.0.0.1:9/app\nget: [{path: /a}, {path: /b}]\nrate: 50\n"
    (tmp_path / "probe.yaml").write_text(text)
    chain = StandingChain(tmp_path)
    ran = chain.run("probe", "--config", tmp_path / "probe.yaml", "--duration", "200ms", "--rate", 20, "--json")
    assert ran.code == INTERRUPTED
    rows = list(read_ledger(Path(ran.json["ledger"])))
    assert {row.path for row in rows} == {"/app/a", "/app/b"}
    assert len(rows) <= 6


def test_the_ledger_of_a_url_lies_in_the_current_folder_unless_a_state_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(cli, ["probe", "http://127.0.0.1:9", "--duration", "100ms", "--json"])
    ledger = Path(json.loads(ran.stdout)["ledger"])
    assert list(tmp_path.iterdir()) == [tmp_path / ledger]
    assert ledger.name.startswith("changeover-probe-")


def test_a_duration_without_its_unit_is_a_usage_error(chain: StandingChain) -> None:
    refused = chain.run("probe", "--duration", "much")
    assert refused.code == COULD_NOT
    assert "--duration" in refused.err


def test_each_run_has_a_ledger_of_its_own(tmp_path: Path) -> None:
    assert new_ledger(tmp_path) != new_ledger(tmp_path)
    assert new_ledger(tmp_path).parent == tmp_path / "ledgers"


def test_a_ledger_elsewhere_is_known_in_the_state_folder_of_its_chain(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "here/mine.jsonl"
    with ledger_place(elsewhere, state).open((), print):
        (link,) = (state / "ledgers").iterdir()
        assert link.samefile(elsewhere)
        assert link.name[:8].isdigit()
    with ledger_place(None, state).open((), print):
        assert len(list((state / "ledgers").iterdir())) == 2


def test_a_ledger_that_is_about_no_chain_is_linked_nowhere(tmp_path: Path) -> None:
    with ledger_place(tmp_path / "mine.jsonl", None).open((), print):
        assert [path.name for path in tmp_path.iterdir()] == ["mine.jsonl"]


def test_a_ledger_that_cannot_be_linked_is_said(tmp_path: Path) -> None:
    noted: list[str] = []
    (tmp_path / "state").write_text("a file")
    with LedgerPlace(tmp_path / "mine.jsonl", tmp_path / "state").open((), noted.append):
        assert "do not know of this ledger" in noted[0]


def test_the_progress_line_counts_what_is_in_flight_and_what_broke() -> None:
    now = ProbeProgress(12.3, 3600, 6, 4, 310_200_000, lost=1, duplicated=0, corrupted=2, p99=8.14)
    assert progress_line(now) == (
        "  12 s  3,600 GET (p99 8.1 ms)  6 uploads done, 4 in flight (310.2 MB)  1 lost, 0 duplicated, 2 corrupted"
    )
    assert "p99" not in progress_line(ProbeProgress(0.0, 0, 0, 0, 0, 0, 0, 0, None))


def test_a_probe_that_is_killed_leaves_a_ledger_without_an_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # so that requests are in flight, and have no row
        url, ledger = f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "ledger.jsonl"
        probe = subprocess.Popen([sys.executable, "-m", "changeover", "probe", url, "--ledger", str(ledger)])
        try:
            silent.settimeout(40)
            silent.accept()[0].close()
            assert ledger_file(ledger).growing
        finally:
            probe.kill()
            probe.wait()
    found = ledger_file(ledger)
    assert (found.growing, found.ended) == (False, False)


def test_a_probe_that_ends_leaves_a_ledger_with_an_end(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    CliRunner().invoke(cli, ["probe", "http://127.0.0.1:9", "--duration", "100ms", "--ledger", str(ledger)])
    assert ledger_file(ledger).ended
