"""The configuration of nginx, parsed as nginx would parse it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.hops.contexts import INNER, instance, launch_context, tier
from tests.unit.hops.nginx.nginx_text import Directive, parse

from changeover.hops.nginx.binary import NginxBinary
from changeover.hops.nginx.config import http_conf, stream_conf
from changeover.hops.nginx.settings import HttpSettings, StreamSettings
from changeover.model.instance import Address
from changeover.ports import CannotStart

OLD = NginxBinary("/usr/sbin/nginx", (1, 22, 1), "/modules/ngx_stream_module.so")
NEW = NginxBinary("/usr/sbin/nginx", (1, 27, 4), None)


PLAIN, PLAIN_STREAM = HttpSettings(), StreamSettings()


def http(
    settings: HttpSettings = PLAIN,
    binary: NginxBinary = OLD,
    *,
    as_root: bool = False,
    descriptors: int = 1024,
    **given: object,
) -> Directive:
    return parse(http_conf(settings, launch_context(**given), binary, as_root=as_root, descriptors=descriptors))


def stream(settings: StreamSettings = PLAIN_STREAM, binary: NginxBinary = OLD, *, as_root: bool = False) -> Directive:
    return parse(stream_conf(settings, launch_context(), binary, as_root=as_root, descriptors=1024))


def serving(conf: Directive) -> Directive:
    """The server of the instance's own address; the other one is its control."""
    return next(one for one in conf.one("http").all("server") if one.value("listen")[0] == "127.0.0.1:20001")


def control(conf: Directive) -> Directive:
    return next(one for one in conf.one("http").all("server") if one.value("listen") == ("127.0.0.1:20002",))


def location(server: Directive, path: str) -> Directive:
    return next(one for one in server.all("location") if one.words[-1] == path)


def test_each_route_leads_to_the_upstream_of_its_tier() -> None:
    web = replace(INNER, tier=tier("app", name="web"), address=Address("127.0.0.1", 20200))
    settings = HttpSettings.model_validate({"routes": [{"path": "/"}, {"path": "/web", "to": "web"}]})
    conf = http(settings, behind=(INNER, web))
    leads = {path: location(serving(conf), path).value("proxy_pass")[0] for path in ("/", "/web")}
    servers = {one.words[1]: one.all("server")[0].words[1] for one in conf.one("http").all("upstream")}
    assert servers[leads["/"].removeprefix("http://")] == "127.0.0.1:20100"
    assert servers[leads["/web"].removeprefix("http://")] == "127.0.0.1:20200"


# -- connections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "descriptors", "connections", "files"),
    [
        (None, 1024, 448, 1024),
        (None, 20_000, 9936, 20_000),
        (None, 1_073_741_816, 16_384, 32_896),
        (None, 100, 16, 100),
        (2000, 1_000_000, 2000, 4128),
        (896, 1024, 896, 1024),
    ],
)
def test_a_worker_takes_as_many_connections_as_it_may_open_files_for(
    given: int | None, descriptors: int, connections: int, files: int
) -> None:
    settings = HttpSettings(worker_connections=given)
    conf = http(settings, descriptors=descriptors)
    assert conf.one("events").value("worker_connections") == (str(connections),)
    assert conf.value("worker_rlimit_nofile") == (str(files),)


def test_more_connections_than_there_can_be_open_files_are_refused() -> None:
    with pytest.raises(CannotStart, match="worker_connections: 897 need 1025 open files, and a process may open 1024"):
        http(HttpSettings(worker_connections=897), descriptors=1024)


# -- readiness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", [http(), stream()], ids=["http", "stream"])
def test_an_instance_is_ready_until_a_file_says_otherwise_so_that_lame_duck_needs_no_reload(conf: Directive) -> None:
    ready = location(control(conf), "/readyz")
    condition = ready.one("if")
    assert condition.words == ("if", "(-f", "lame-duck", ")")
    assert condition.value("return") == ("503", "draining\n")
    assert ready.value("return") == ("200", "ready\n")


@pytest.mark.parametrize("conf", [http(), stream()], ids=["http", "stream"])
def test_control_answers_on_a_port_of_its_own(conf: Directive) -> None:
    assert {one.words[-1] for one in control(conf).all("location")} == {"/readyz", "/status"}
    assert "ssl" not in control(conf).value("listen")


def test_clients_do_not_reach_control_paths() -> None:
    assert [one.words[-1] for one in serving(http()).all("location")] == ["/"]


# -- the tier behind -----------------------------------------------------------------------------------------------


def test_the_balancer_behind_is_named_twice_and_never_held_to_be_down() -> None:
    upstream = http().one("http").one("upstream")
    assert [one.words[1:] for one in upstream.all("server")] == [("127.0.0.1:20100", "max_fails=0")] * 2


def test_a_request_that_may_have_reached_the_tier_behind_is_not_sent_again_unless_it_is_safe() -> None:
    server = serving(http())
    assert server.value("proxy_next_upstream") == ("error", "timeout")  # without `non_idempotent`
    assert server.value("proxy_next_upstream_tries") == ("2",)


def test_connections_to_the_tier_behind_are_kept_and_end_in_time() -> None:
    settings = HttpSettings.model_validate({"upstream_keepalive_time": "3s", "upstream_keepalive_timeout": "1.5s"})
    conf = http(settings)
    upstream = conf.one("http").one("upstream")
    assert upstream.value("keepalive_time") == ("3000ms",)
    assert upstream.value("keepalive_timeout") == ("1500ms",)
    assert serving(conf).value("proxy_http_version") == ("1.1",)
    assert ("Connection", "$changeover_connection") in [one.words[1:] for one in serving(conf).all("proxy_set_header")]
    connection = next(one for one in conf.one("http").all("map") if one.words[-1] == "$changeover_connection")
    assert connection.value("") == ("",)  # without an upgrade: kept


def test_only_websocket_is_an_upgrade_that_is_passed_on() -> None:
    upgrade = next(one for one in http().one("http").all("map") if one.words[1] == "$http_upgrade")
    assert {one.words for one in upgrade.block} == {("default", ""), ("~*^websocket$", "websocket")}


def test_connections_of_clients_end_in_time() -> None:
    conf = http(HttpSettings.model_validate({"keepalive_time": "4s", "keepalive_timeout": "500ms"})).one("http")
    assert conf.value("keepalive_time") == ("4000ms",)
    assert conf.value("keepalive_timeout") == ("500ms",)


def test_a_stopping_nginx_waits_as_long_as_a_drain_may_last() -> None:
    assert http(tier=tier(drain={"deadline": "2m"})).value("worker_shutdown_timeout") == ("120000ms",)


def test_the_stream_passes_bytes_to_the_tier_behind() -> None:
    server = stream(StreamSettings.model_validate({"proxy_timeout": "10m"})).one("stream").one("server")
    assert server.value("listen")[0] == "127.0.0.1:20001"
    assert server.value("proxy_pass") == ("127.0.0.1:20100",)
    assert server.value("proxy_timeout") == ("600000ms",)


def test_a_proxy_without_anything_behind_it_is_refused() -> None:
    with pytest.raises(ValueError, match="edge: an nginx tier needs a tier behind it"):
        http_conf(PLAIN, launch_context(behind=()), OLD, as_root=False, descriptors=1024)
    with pytest.raises(ValueError, match="edge: an nginx-stream tier needs a tier behind it"):
        stream_conf(PLAIN_STREAM, launch_context(behind=()), OLD, as_root=False, descriptors=1024)


# -- TLS -----------------------------------------------------------------------------------------------------------


def test_tls_ends_at_the_edge_and_nowhere_else() -> None:
    edge, inside = serving(http(outermost=True)), serving(http(outermost=False))
    assert "ssl" in edge.value("listen")
    assert edge.value("ssl_certificate") == ("/state/tls/edge.pem",)
    assert edge.value("ssl_certificate_key") == ("/state/tls/edge.key",)
    assert "ssl" not in inside.value("listen")
    assert not any(name.startswith("ssl") for name in inside.names())


def test_an_old_nginx_takes_http2_with_its_address_and_a_new_one_by_itself() -> None:
    old = serving(http(outermost=True, binary=OLD))
    new = serving(http(outermost=True, binary=NEW))
    assert "http2" in old.value("listen")
    assert not old.all("http2")
    assert "http2" not in new.value("listen")
    assert new.value("http2") == ("on",)


@pytest.mark.parametrize(("version", "directive"), [((1, 25, 0), False), ((1, 25, 1), True)])
def test_the_change_came_with_1_25_1(version: tuple[int, ...], directive: bool) -> None:
    server = serving(http(outermost=True, binary=NginxBinary("nginx", version, None)))
    assert bool(server.all("http2")) is directive


def test_http2_is_spoken_at_the_edge_only() -> None:
    assert "http2" not in serving(http(binary=NEW)).names()


# -- settings ------------------------------------------------------------------------------------------------------


def test_each_route_says_whether_a_body_is_taken_in_whole_first() -> None:
    settings = HttpSettings.model_validate(
        {
            "routes": [
                {"path": "/upload", "buffering": "buffer", "max_body": "50MB"},
                {"path": "/", "buffering": "stream"},
            ]
        }
    )
    server = serving(http(settings))
    assert location(server, "/upload").value("proxy_request_buffering") == ("on",)
    assert location(server, "/").value("proxy_request_buffering") == ("off",)


def test_the_disk_of_a_buffered_route_is_reckoned_and_bounds_its_requests() -> None:
    upload = {"path": "/upload", "buffering": "buffer", "max_body": "50MB", "disk": "1020MB"}
    settings = HttpSettings.model_validate({"client_max_body_size": "5MB", "routes": [{}, upload]})
    server = serving(http(settings))
    assert location(server, "/upload").value("limit_conn") == ("route1", "20")
    assert location(server, "/upload").value("client_max_body_size") == ("50000000",)
    assert location(server, "/").value("client_max_body_size") == ("5000000",)
    assert location(server, "/").all("limit_conn") == []
    assert settings.disk == 1_000_000_000
    assert "# on disk: 20 x 50.0 MB = 1.0 GB" in http_conf(
        settings, launch_context(), OLD, as_root=False, descriptors=1024
    )


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ({"buffering": "buffer"}, "a body may have any size: no disk is large enough. Set its max_body"),
        (
            {"buffering": "buffer", "max_body": "5MB", "disk": "4MB"},
            "4.0 MB of disk, which does not hold one body of 5",
        ),
        ({"retries": "idempotent"}, "Set buffering: buffer, or leave retries at safe-once"),
    ],
)
def test_a_route_that_cannot_keep_what_it_says_is_refused(route: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        HttpSettings.model_validate({"routes": [route]})


def test_an_upload_passes_through_unless_a_route_says_otherwise() -> None:
    assert location(serving(http()), "/").value("proxy_request_buffering") == ("off",)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_whatever_a_header_says_stays_within_it(value: str) -> None:
    server = serving(http(HttpSettings(headers={"X-Odd": value, "X-After": "still here"})))
    odd, after = server.all("add_header")
    assert odd.words == ("add_header", "X-Odd", value.replace("$", "${changeover_dollar}"), "always")
    assert after.words == ("add_header", "X-After", "still here", "always")


@pytest.mark.parametrize("conf", [http(), stream()], ids=["http", "stream"])
def test_a_dollar_sign_is_known_by_a_name(conf: Directive) -> None:
    """nginx would look for a variable otherwise, and has no other way to write one."""
    (geo,) = conf.one("http").all("geo")
    assert geo.words[1:] == ("$changeover_dollar",)
    assert geo.value("default") == ("$",)


def test_a_state_folder_may_have_an_odd_name() -> None:
    conf = http(lame_duck='/state/instances/edge-v1-1/my "state"/$1;{}/lame-duck')
    condition = location(control(conf), "/readyz").one("if")
    assert condition.words[2] == 'my "state"/${changeover_dollar}1;{}/lame-duck'


@pytest.mark.parametrize("path", ["/a b", "/a;b", "/{", "}", "a", "/\n"])
def test_a_route_that_could_break_the_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        HttpSettings.model_validate({"routes": [{"path": path}]})


@pytest.mark.parametrize("name", ["", "X Odd", "X;Odd", "X{", "X\n", "Ä", "X:"])
def test_a_header_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        HttpSettings.model_validate({"headers": {name: "value"}})


@pytest.mark.parametrize("value", ["two\nlines", "\r", "\0", "\x7f"])
def test_a_header_value_that_would_end_the_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        HttpSettings.model_validate({"headers": {"X-Odd": value}})


def test_raw_text_is_put_where_it_was_promised() -> None:
    routes = [{}, {"path": "/a", "location": "limit_rate 1k;"}]
    settings = HttpSettings.model_validate({"snippet": "sendfile on;", "server": "gzip on;", "routes": routes})
    conf = http(settings)
    assert conf.one("http").value("include") == ("snippets/snippet",)
    assert serving(conf).value("include") == ("snippets/server",)
    assert location(serving(conf), "/a").value("include") == ("snippets/routes.1.location",)
    assert settings.snippets["routes.1.location"] == "limit_rate 1k;"
    assert stream(StreamSettings(snippet="tcp_nodelay off;")).one("stream").value("include") == ("snippets/snippet",)


def test_only_root_tells_nginx_which_user_to_be() -> None:
    assert http(HttpSettings(user="www-data"), as_root=True).value("user") == ("www-data",)
    for conf in (http(as_root=True), stream(as_root=True)):
        assert conf.value("user") == ("root",)
    for conf in (http(), stream()):
        assert not conf.all("user")


def test_the_stream_module_is_loaded_where_it_is_not_built_in() -> None:
    assert stream(binary=OLD).value("load_module") == ("/modules/ngx_stream_module.so",)
    assert not stream(binary=NEW).all("load_module")
    assert not http(binary=OLD).all("load_module")


def test_two_instances_write_into_no_common_file() -> None:
    """All paths are relative to an instance's folder, but for what all instances only read."""
    for conf in (http(), stream()):
        paths = [one.words[1] for one in conf.one("http").block if one.name.endswith("_temp_path")]
        assert len(paths) == 5
        assert not any(path.startswith("/") for path in [*paths, *conf.value("pid")])


def test_an_instance_listens_at_its_own_addresses() -> None:
    conf = http(instance=instance("edge-v1-7", 21000, 21001)).one("http")
    assert {server.value("listen")[0] for server in conf.all("server")} == {"127.0.0.1:21000", "127.0.0.1:21001"}


@pytest.mark.parametrize("path", ["/a//b", "/a/./b", "/a/..", "/a%20b", "/a?b"])
def test_a_path_that_no_request_has_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"routes\.0\.path"):
        HttpSettings.model_validate({"routes": [{"path": path}]})


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="two routes have the path /a"):
        HttpSettings.model_validate({"routes": [{"path": "/a"}, {"path": "/"}, {"path": "/a"}]})
