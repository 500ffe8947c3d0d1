"""What a chain would cut, found from what its templates render to, before an instance is started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from changeover.audit.finding import Outcome
from changeover.audit.rules import all_rules
from changeover.cli.chain_audit import OF_STOPS, ChainAudit, audit_chain
from changeover.wiring import wire

EXAMPLES = Path(__file__).parents[3] / "examples"
ON_GOOGLE_CLOUD = EXAMPLES / "03-google-cloud"  # its VMs are audited by the doctor
NGINX = """\
events {}
http {
    client_max_body_size %s;
    upstream app {
        server CHANGEOVER_INNER max_fails=0;
        server CHANGEOVER_INNER max_fails=0;
        keepalive 8;
        keepalive_time 10s;
        keepalive_timeout 10s;
    }
    server {
        listen CHANGEOVER_LISTEN;
        location / { proxy_http_version 1.1; proxy_set_header Connection ""; %s proxy_pass http://app; }
    }
}
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 2s
frontend web
    bind CHANGEOVER_LISTEN
    default_backend app
backend app
    server app CHANGEOVER_INNER
"""
STREAMS = "proxy_request_buffering off;  # changeover: ignore NGX09 -- a test\n"
SERVER = 'command: [gunicorn, --bind, "{host}:{port}", -k, gthread, --keep-alive, "%s", app:app]'
TIER = "  - {name: %s, kind: %s, drain: {%s}, templates: {v1: {%s}}}\n"


def audited(folder: Path, *tiers: str) -> ChainAudit:
    (folder / "chain.yaml").write_text("name: shop\ntiers:\n" + "".join(tiers), encoding="utf-8")
    return audited_file(folder / "chain.yaml", folder / "state")


def audited_file(chain: Path, state: Path) -> ChainAudit:
    async def work() -> ChainAudit:
        found = wire(chain, state)
        return audit_chain(found, {tier.name: tier.first for tier in found.chain.tiers})

    return asyncio.run(work())


def rules(found: ChainAudit) -> dict[str, str]:
    """Each violated rule with its place."""
    return {one.rule.id: str(one.finding.place) for one in found.judged if one.finding.outcome is Outcome.VIOLATED}


def edge(folder: Path, size: str = "100m", passes: str = "", drain: str = "") -> str:
    (folder / "nginx.conf").write_text(NGINX % (size, passes), encoding="utf-8")
    return TIER % ("edge", "nginx", drain, "config: nginx.conf")


def app(keep_alive: str = "65", drain: str = "", more: str = "") -> str:
    return TIER % ("runtime", "app", drain, SERVER % keep_alive + more)


@pytest.mark.parametrize("example", sorted({*EXAMPLES.glob("0*")} - {ON_GOOGLE_CLOUD}), ids=lambda path: path.name)
def test_an_example_cuts_nothing(example: Path, tmp_path: Path) -> None:
    found = audited_file(example / "chain.yaml", tmp_path)
    assert found.warnings() == []
    assert found.judged


def test_a_limit_of_an_own_nginx_is_named_at_its_line_with_its_consequence(tmp_path: Path) -> None:
    found = audited(tmp_path, edge(tmp_path, "1m"), app())
    assert found.warnings() == [
        "Warning: edge/v1/conf/nginx.conf:3: client_max_body_size 1m: smaller than a 50 MB upload: a GET is answered; "
        "the POST is answered with 413  [NGX07]"
    ]
    (printed,) = [one for one in found.data()["findings"] if one["outcome"] == "violated"]
    assert (printed["rule"], printed["file"], printed["line"]) == ("NGX07", "edge/v1/conf/nginx.conf", 3)
    assert (printed["get"], printed["post"]) == ("ok", "refused")


def test_a_command_that_closes_connections_before_the_pool_in_front_is_named(tmp_path: Path) -> None:
    assert rules(audited(tmp_path, edge(tmp_path), app("2"))) == {"CHN01": "tier runtime, template v1"}
    assert rules(audited(tmp_path, edge(tmp_path), app("65"))) == {}


def test_a_balancing_envoy_is_joined_to_the_instances_behind_it(tmp_path: Path) -> None:
    gateway = TIER % ("gateway", "envoy", "", "upstream_idle_timeout: 30s")
    assert rules(audited(tmp_path, gateway, app("2"))) == {"CHN01": "tier runtime, template v1"}
    assert rules(audited(tmp_path, gateway, app("65"))) == {}


def test_an_own_haproxy_is_the_server_of_the_pool_in_front(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text(HAPROXY, encoding="utf-8")
    inner = TIER % ("l7", "haproxy", "", "config: haproxy.cfg")
    assert "CHN01" in rules(audited(tmp_path, edge(tmp_path), inner, app()))


@pytest.mark.parametrize(
    ("drain", "passes", "cuts"),
    [
        ("policy: wait, deadline: 60s", STREAMS, False),
        ("policy: cut, deadline: 460s", STREAMS, False),
        ("policy: cut, deadline: 60s", STREAMS, True),
        ("policy: cut, deadline: 60s", "", False),  # behind a hop that buffers uploads
        ("policy: cut, deadline: 20s", "", True),
    ],
)
def test_a_drain_is_judged_by_what_is_in_flight_at_its_deadline(
    drain: str, passes: str, cuts: bool, tmp_path: Path
) -> None:
    found = audited(tmp_path, edge(tmp_path, passes=passes), app(drain=drain))
    assert ("CHN03" in rules(found)) is cuts
    if cuts:
        assert rules(found)["CHN03"] == "tier runtime"


def test_a_drain_that_cuts_is_named_once_and_a_stop_that_kills_besides(tmp_path: Path) -> None:
    drain = "policy: cut, deadline: 60s"
    passing = edge(tmp_path, passes=STREAMS, drain=drain)
    assert set(rules(audited(tmp_path, passing, app()))) == {"CHN03"}
    assert set(rules(audited(tmp_path, passing.replace("nginx.conf}", "nginx.conf, stop: {grace: 9s}}"), app()))) == {
        "CHN03",
        "NGX02",
    }


def test_a_file_that_the_auditor_cannot_read_is_named(tmp_path: Path) -> None:
    text = HAPROXY.replace("frontend web", ".if feature(OPENSSL)\n.endif\nfrontend web")
    (tmp_path / "haproxy.cfg").write_text(text, encoding="utf-8")
    found = audited(tmp_path, edge(tmp_path), TIER % ("l7", "haproxy", "", "config: haproxy.cfg"), app())
    (warning,) = [one for one in found.warnings() if "not known" in one]
    assert warning.startswith("Warning: l7/v1/changeover-user/haproxy.cfg:7: what it would cut is not known: ")
    assert found.data()["unreadable"][0]["file"] == "l7/v1/changeover-user/haproxy.cfg"


@pytest.mark.parametrize("option", ["-c, settings.py, ", "--config=settings.py, ", ""])
def test_the_settings_of_gunicorn_are_audited_whether_a_command_names_them_or_not(option: str, tmp_path: Path) -> None:
    name = "settings.py" if option else "gunicorn.conf.py"
    (tmp_path / name).write_text("worker_class = 'gthread'\nkeepalive = 2\n", encoding="utf-8")
    command = f'command: [gunicorn, {option}--bind, "{{host}}:{{port}}", app:app]'
    tier = TIER % ("runtime", "app", "", command)
    assert rules(audited(tmp_path, edge(tmp_path), tier)) == {"CHN01": f"runtime/v1/{name}:2"}
    (tmp_path / name).write_text("worker_class = 'gthread'\nkeepalive = 65\n", encoding="utf-8")
    assert rules(audited(tmp_path, edge(tmp_path), tier)) == {}
    (tmp_path / name).write_text("keepalive = (", encoding="utf-8")
    (warning,) = [one for one in audited(tmp_path, edge(tmp_path), tier).warnings() if name in one]
    assert warning.startswith(f"Warning: runtime/v1/{name}:1: what it would cut is not known: ")


@pytest.mark.parametrize(("signal", "named"), [("QUIT", True), ("TERM", False)])
def test_the_signal_of_a_stop_is_judged_where_the_drain_cuts(signal: str, named: bool, tmp_path: Path) -> None:
    stop = f", stop: {{signal: {signal}}}"
    cut = app(drain="policy: cut, deadline: 60s", more=stop).replace("gthread", "sync")  # threads finish at SIGQUIT
    assert ("APP03" in rules(audited(tmp_path, edge(tmp_path, passes=STREAMS), cut))) is named
    assert rules(audited(tmp_path, edge(tmp_path), app(more=stop))) == {}


def test_what_cannot_be_judged_is_in_the_data_with_what_is_missing(tmp_path: Path) -> None:
    unnamed = TIER % ("runtime", "app", "", 'command: [./server, "{port}"]')
    found = audited(tmp_path, edge(tmp_path), unnamed)
    assert found.warnings() == []
    missing = {one["rule"]: one["missing"] for one in found.data()["findings"] if one["outcome"] == "unknown"}
    assert missing["CHN01"] == "the server behind: how long it keeps idle connections"


def test_each_rule_about_stops_exists() -> None:
    assert {rule.id for rule in all_rules()} >= OF_STOPS
