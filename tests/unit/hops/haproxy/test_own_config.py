"""HAProxy's configuration, generated or the user's own: what is refused and what is added. HAProxy checks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.hops.contexts import BEHIND, INNER, instance, launch_context, tier

from changeover.hops.haproxy import own_text
from changeover.hops.haproxy.config import http_config
from changeover.hops.haproxy.hop import HaproxyHttp, HaproxyTcp
from changeover.hops.haproxy.settings import HaproxyHttpSettings, HaproxyTcpSettings
from changeover.model.chain import Chain, Tier
from changeover.model.config_model import ConfigModel
from changeover.model.errors import ChangeoverError
from changeover.model.instance import LaunchSpec
from changeover.platforms.local import tls
from changeover.platforms.local.output import check_now
from changeover.ports import CannotStart

PLAIN = """global
    maxconn 100
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s

frontend web
    bind CHANGEOVER_LISTEN  # the only one
    default_backend app

backend app
    server inner CHANGEOVER_INNER
"""
TCP = """listen l4
    mode tcp
    bind CHANGEOVER_LISTEN
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    server inner CHANGEOVER_INNER
"""
SECOND = Tier.model_validate({"name": "web-site", "kind": "app", "templates": {"v1": {}}})


def read(
    folder: Path,
    text: str = PLAIN,
    *,
    hop: Any = HaproxyHttp,
    trusted: bool = False,
    behind: tuple[Tier, ...] = (BEHIND,),
    **given: Any,
) -> Any:
    """The template of a chain file in that folder, with that text as its configuration."""
    (folder / "haproxy.cfg").write_text(text)
    to = {"to": [one.name for one in behind]} if len(behind) > 1 else {}
    edge = tier(hop.traits.kind, drain={"deadline": "60s"}, **to)
    peers = ("10.0.0.0/8",) if trusted else ()
    whole = Chain.model_construct(name="c", tiers=(edge, *behind), trusted_peers=peers)
    settings = hop.traits.settings.model_validate({"config": "haproxy.cfg", **given})
    return hop.with_files(settings, edge, whole, folder)


def launched(settings: ConfigModel, hop: Any = HaproxyHttp, **given: Any) -> LaunchSpec:
    spec: LaunchSpec = hop(httpx.AsyncClient()).launch(settings, launch_context(**given))
    return spec


def rendered(settings: ConfigModel, hop: Any = HaproxyHttp, **given: Any) -> str:
    return next(iter(launched(settings, hop, **given).files.values()))


def refused(folder: Path, text: str, **given: Any) -> str:
    with pytest.raises(ChangeoverError) as error:
        read(folder, text, **given)
    return str(error.value)


def checked(launch: LaunchSpec, folder: Path) -> None:
    for name, text in launch.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    check_now(launch, folder, {}, 20.0)


# -- what is read --------------------------------------------------------------------------------------------------


def test_a_template_with_its_text_is_the_same_when_it_is_read_again_without_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path)
    kept = HaproxyHttpSettings.model_validate(settings.model_dump(mode="json", exclude_unset=True))
    (tmp_path / "haproxy.cfg").unlink()
    edge = tier("haproxy")
    assert HaproxyHttp.with_files(kept, edge, Chain.model_construct(tiers=(edge, BEHIND)), tmp_path) == settings


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings, edge = HaproxyHttpSettings.model_validate({"config": "no.cfg"}), tier("haproxy")
    with pytest.raises(ChangeoverError, match=r"no\.cfg cannot be read: No such file"):
        HaproxyHttp.with_files(settings, edge, Chain.model_construct(tiers=(edge, BEHIND)), tmp_path)


def test_a_key_that_the_own_configuration_would_ignore_is_refused() -> None:
    with pytest.raises(ValueError, match="headers, maxconn would have no effect beside `config`"):
        HaproxyHttpSettings.model_validate({"config": "haproxy.cfg", "maxconn": 7, "headers": {"A": "b"}})
    with pytest.raises(ValueError, match="proxy_timeout would have no effect"):
        HaproxyTcpSettings.model_validate({"config": "haproxy.cfg", "proxy_timeout": "1m"})


def test_quotes_comments_and_escapes_are_read_as_haproxy_reads_them() -> None:
    text = """  # nothing
frontend a # b
  acl x path -m str 'it # is' "so \\"it\\"" a\\ b  # c
"""
    (section,) = own_text.sections(text)
    assert section.head.words == ("frontend", "a")
    assert section.lines[0].words == ("acl", "x", "path", "-m", "str", "it # is", 'so \\"it\\"', "a b")


# -- what it must not do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("bind CHANGEOVER_LISTEN", "bind :443", "haproxy.cfg: nothing in it listens at the address of the instance"),
        ("default_backend", "bind :8404\n default_backend", "haproxy.cfg:11: `bind :8404`: old and new instances run"),
        ("default_backend", "bind CHANGEOVER_LISTEN\n default_backend", "is taken by line 10 already"),
        ("CHANGEOVER_LISTEN", "CHANGEOVER_LISTEN accept-proxy", "`accept-proxy`: changeover adds it"),
        ("CHANGEOVER_LISTEN", "CHANGEOVER_LISTEN ssl crt x alpn h2,http/1.1", "HAProxy ends no HTTP/2 connection"),
        ("CHANGEOVER_LISTEN", "CHANGEOVER_LISTEN proto h2", "HAProxy ends no HTTP/2 connection"),
        ("mode http", "mode tcp", "haproxy.cfg:9: `frontend web` is not in mode http"),
        ("maxconn 100", "master-worker", "haproxy.cfg:2: `master-worker`"),
        ("maxconn 100", "hard-stop-after 30s", "cuts what drain.deadline, 1m, still allows"),
        ("maxconn 100", "stats socket /run/h.sock", "haproxy.cfg:2: `stats socket /run/h.sock`"),
        ("mode http", "mode http\n timeout http-keep-alive 1m", "haproxy.cfg:5: `timeout http-keep-alive 1m`"),
        ("CHANGEOVER_INNER", "10.0.0.1:80", "nothing in it sends requests to tier runtime behind edge"),
        ("CHANGEOVER_INNER", "CHANGEOVER_INER", "Did you mean CHANGEOVER_INNER?"),
        ("maxconn 100", "description CHANGEOVER_LISTEN", "CHANGEOVER_LISTEN is not the address of a `bind`"),
    ],
)
def test_what_works_against_a_drain_or_a_second_instance_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    assert reason in refused(tmp_path, PLAIN.replace(old, new))


def test_the_same_of_a_tier_that_passes_bytes(tmp_path: Path) -> None:
    assert "is not in mode tcp" in refused(tmp_path, TCP.replace("mode tcp", "mode http"), hop=HaproxyTcp)
    assert read(tmp_path, TCP, hop=HaproxyTcp).config.text == TCP


def test_tls_that_a_tier_of_bytes_ends_is_what_clients_send_and_its_protocol_that_of_the_tier_behind(
    tmp_path: Path,
) -> None:
    tls = "CHANGEOVER_LISTEN ssl crt CHANGEOVER_CERTIFICATE"
    plain, ended, h2 = (
        read(tmp_path, TCP.replace("CHANGEOVER_LISTEN", bind), hop=HaproxyTcp)
        for bind in ("CHANGEOVER_LISTEN", tls, f"{tls} alpn h2")
    )
    assert [HaproxyTcp.takes(one) for one in (plain, ended, h2)] == ["bytes", "tls", "tls"]
    assert "alpn" not in rendered(ended, HaproxyTcp)


def test_a_chain_that_asks_for_clients_needs_a_configuration_that_names_them(tmp_path: Path) -> None:
    assert "does not pass it on" in refused(tmp_path, PLAIN, trusted=True)
    read(tmp_path, PLAIN.replace("default_backend", "option forwardfor\n default_backend"), trusted=True)


def test_each_of_several_tiers_behind_must_be_reached(tmp_path: Path) -> None:
    both = (BEHIND, SECOND)
    assert "Write `server web-site CHANGEOVER_INNER_WEB_SITE` in a backend." in refused(tmp_path, PLAIN, behind=both)
    read(tmp_path, f"{PLAIN} server other CHANGEOVER_INNER_WEB_SITE backup\n", behind=both)


def test_a_key_beside_a_timeout_of_the_configuration_has_no_effect(tmp_path: Path) -> None:
    text = PLAIN.replace("mode http", "mode http\n timeout http-keep-alive 5s")
    assert "`keepalive_timeout` of the template has no effect" in refused(tmp_path, text, keepalive_timeout="3s")


# -- what is added -------------------------------------------------------------------------------------------------


def test_each_addition_has_its_line_and_its_reason_and_haproxy_accepts_the_whole(tmp_path: Path) -> None:
    settings = read(tmp_path)
    context = launch_context(hidden_paths=("/inflight",))
    assert HaproxyHttp.changes(settings, context) == (
        "haproxy.cfg:9: 404 at /inflight (control paths of the tiers behind)",
        "haproxy.cfg:9: `http-after-response set-header Connection close if { nbsrv(changeover.ready) eq 0 }` (while "
        "it drains, each connection ends with its next response)",
        "haproxy.cfg:9: `timeout http-keep-alive 20s` (a drain waits for idle connections of clients)",
        "haproxy.cfg:13: `option http-server-close` (HAProxy knows no longest age of a connection, and the drain of a "
        "tier behind would wait for it)",
        "haproxy.cfg: `stats socket unix@haproxy.sock mode 600 level admin` (changeover counts requests there, and has "
        "the instance drain)",
        "haproxy.cfg: `hard-stop-after 120000ms` (drain.deadline)",
        "haproxy.cfg: frontend changeover.control and backend changeover.ready (changeover and the load balancer ask "
        "there whether the instance is ready)",
    )
    launch = launched(settings, hidden_paths=("/inflight",))
    assert "bind 127.0.0.1:20001  # the only one" in launch.files["changeover-user/haproxy.cfg"]
    checked(launch, tmp_path)


def test_what_the_configuration_has_already_is_not_added(tmp_path: Path) -> None:
    text = PLAIN.replace("mode http", "mode http\n timeout http-keep-alive 5s\n option http-keep-alive")
    text = text.replace("maxconn 100", "hard-stop-after 1h")
    launch = launched(read(tmp_path, text))
    whole = "".join(launch.files.values())
    assert "http-server-close" not in whole
    assert "timeout http-keep-alive 20" not in whole
    assert whole.count("hard-stop-after") == 1
    checked(launch, tmp_path)


def test_defaults_that_a_section_names_hold_for_it_and_no_others_do(tmp_path: Path) -> None:
    text = PLAIN.replace("defaults", "defaults plain").replace("frontend web", "defaults last\n mode tcp\nfrontend web")
    assert "is not in mode http" in refused(tmp_path, text)
    read(tmp_path, text.replace("frontend web", "frontend web from plain"))


def test_the_address_of_the_client_is_asked_of_the_load_balancer(tmp_path: Path) -> None:
    text = PLAIN.replace("default_backend", "option forwardfor\n default_backend")
    found = rendered(read(tmp_path, text, trusted=True), instance=replace(instance(), proxied=True))
    assert "bind 127.0.0.1:20001 accept-proxy  # the only one" in found


def test_tls_speaks_no_http2_unless_somebody_says_how_it_ends(tmp_path: Path) -> None:
    settings = read(tmp_path, PLAIN.replace("CHANGEOVER_LISTEN", "CHANGEOVER_LISTEN ssl crt CHANGEOVER_CERTIFICATE"))
    assert "ssl crt /state/tls/edge.pem alpn http/1.1  # the only one" in rendered(settings)
    assert HaproxyHttp.takes(settings) == "tls"
    assert HaproxyHttp.takes(read(tmp_path)) == "http"


def test_every_placeholder_is_filled_in(tmp_path: Path) -> None:
    rules = """http-request set-header X CHANGEOVER_INSTANCE,CHANGEOVER_TEMPLATE if { CHANGEOVER_LAME_DUCK }
    http-request return status 200 content-type text/plain file CHANGEOVER_FOLDER/haproxy.cfg if { path /x }
    default_backend"""
    text = PLAIN.replace("default_backend", rules) + "    server other CHANGEOVER_INNER_WEB_SITE backup\n"
    other = replace(INNER, tier=SECOND)
    launch = launched(read(tmp_path, text, behind=(BEHIND, SECOND)), behind=(INNER, other))
    found = launch.files["changeover-user/haproxy.cfg"]
    assert "set-header X edge-v1-1,v1 if { nbsrv(changeover.ready) eq 0 }" in found
    assert f"file {tmp_path}/haproxy.cfg" in found
    assert "CHANGEOVER_" not in found
    checked(launch, tmp_path)


def test_messages_of_haproxy_name_the_lines_of_the_user(tmp_path: Path) -> None:
    text = f"{PLAIN}    server other 127.0.0.1:1 wieght 3\nbackend other\n    blance roundrobin\n"
    with pytest.raises(CannotStart) as error:
        checked(launched(read(tmp_path, text)), tmp_path)
    assert "[haproxy.cfg:15]" in str(error.value)
    assert "[haproxy.cfg:17]" in str(error.value)


def test_an_own_configuration_that_passes_bytes_is_checked_by_haproxy(tmp_path: Path) -> None:
    launch = launched(read(tmp_path, TCP, hop=HaproxyTcp), HaproxyTcp)
    assert "Connection close" not in launch.files["changeover-user/haproxy.cfg"]
    checked(launch, tmp_path)


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_the_folder_of_the_chain_file_may_have_odd_characters(tmp_path: Path, quote: str) -> None:
    folder = tmp_path / """a "b" 'c' #$é"""
    folder.mkdir()
    rule = f"http-request return status 200 content-type text/plain file {quote}CHANGEOVER_FOLDER/x{quote}  # don't\n"
    (folder / "x").write_text("x")
    checked(
        launched(read(folder, PLAIN.replace("    default_backend", f"  # it's\n    {rule}    default_backend"))),
        tmp_path,
    )


# -- generated -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "context"),
    [
        ({}, {"outermost": True}),
        ({"tls": False, "headers": {"X-A": "100% 'it' \"$HOME\""}}, {"outermost": True, "trusted_peers": ()}),
        ({"routes": [{"path": "/api"}, {"path": "/x", "to": "runtime"}]}, {"hidden_paths": ("/readyz", "/x")}),
        ({"threads": 2, "maxconn": 50}, {"trusted_peers": ("10.0.0.0/8", "192.0.2.7")}),
    ],
)
def test_haproxy_accepts_every_generated_configuration(
    tmp_path: Path, given: dict[str, Any], context: dict[str, Any]
) -> None:
    folder = tls.ensure(tmp_path / "tls").parent
    settings = HaproxyHttpSettings.model_validate(given)
    checked(launched(settings, instance=replace(instance(), proxied=True), tls=str(folder), **context), tmp_path)


def test_a_certificate_is_named_from_the_chain_file_and_inner_tiers_have_none(tmp_path: Path) -> None:
    settings = HaproxyHttpSettings.model_validate({"tls": {"certificate": "tls/site.pem"}})
    edge = tier("haproxy")
    whole = Chain.model_construct(tiers=(edge, BEHIND))
    assert f"crt '{tmp_path}/tls/site.pem'" in rendered(
        HaproxyHttp.with_files(settings, edge, whole, tmp_path), outermost=True
    )
    with pytest.raises(ChangeoverError, match="at the first tier alone"):
        HaproxyHttp.with_files(settings, tier("haproxy", name="in"), whole, tmp_path)


def test_as_many_connections_as_it_may_open_files_for_and_no_more() -> None:
    def most(given: int | None, descriptors: int) -> str:
        found = http_config(HaproxyHttpSettings(maxconn=given), launch_context(), descriptors)
        return next(line for line in found.splitlines() if "maxconn" in line).strip()

    assert [most(None, 1024), most(None, 1_000_000), most(448, 1024)] == ["maxconn 448", "maxconn 8192", "maxconn 448"]
    with pytest.raises(CannotStart, match="maxconn: 449 needs 1026 open files, and a process may open 1024 here"):
        most(449, 1024)
