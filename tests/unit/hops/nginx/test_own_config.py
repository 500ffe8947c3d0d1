"""A configuration of the user's own: what is read with it, what it must not do, and what is added for one instance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.hops.contexts import BEHIND, INNER, instance, launch_context, tier
from tests.unit.hops.nginx.nginx_text import parse

from changeover.conf.nginx import grammar
from changeover.hops.nginx import certificate, own_config, own_tree
from changeover.hops.nginx.binary import NginxBinary
from changeover.hops.nginx.config import http_conf
from changeover.hops.nginx.hop import NginxHttp, NginxStream
from changeover.hops.nginx.own_config import Rendered
from changeover.hops.nginx.settings import Certificate, HttpSettings, StreamSettings
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError
from changeover.model.hop_traits import BodyBuffer
from changeover.model.instance import Address

BINARY = NginxBinary("/usr/sbin/nginx", (1, 22, 1), "/modules/ngx_stream_module.so")
PLAIN = """user www-data;
pid /run/nginx.pid;
events {}
http {
    server {
        listen CHANGEOVER_LISTEN;
        location / { proxy_pass http://changeover_inner; }
    }
}
"""
STREAM = "events {}\nstream { server { listen CHANGEOVER_LISTEN; proxy_pass CHANGEOVER_INNER; } }\n"


def chain(first: Tier, **given: Any) -> Chain:
    return Chain.model_construct(name="chain", tiers=(first, BEHIND), trusted_peers=(), **given)


def read(
    folder: Path, text: str = PLAIN, path: str = "nginx.conf", *, trusted: bool = False, **given: Any
) -> HttpSettings:
    """The template of a chain file in that folder, with that text as its configuration."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    edge = tier(drain={"deadline": "60s"})
    whole = Chain.model_construct(name="c", tiers=(edge, BEHIND), trusted_peers=("10.0.0.0/8",) if trusted else ())
    return NginxHttp.with_files(HttpSettings.model_validate({"config": path, **given}), edge, whole, folder)


def render(settings: HttpSettings | StreamSettings, **given: Any) -> Rendered:
    return own_config.render(settings, launch_context(**given), BINARY)


def refused(folder: Path, text: str, **given: Any) -> str:
    with pytest.raises(ChangeoverError) as error:
        read(folder, text, **given)
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "folder"),
    [("", "tmp-client_body"), ("client_body_temp_path bodies 1 2;", "bodies"), ("client_body_temp_path /b;", "/b")],
)
def test_bodies_wait_in_the_folder_that_the_configuration_names(tmp_path: Path, line: str, folder: str) -> None:
    settings = read(tmp_path, PLAIN.replace("server {", f"{line} server {{"))
    assert NginxHttp.traits.body_buffer(settings, Path("/state/one")) == BodyBuffer(Path("/state/one") / folder)


# -- files ---------------------------------------------------------------------------------------------------------


def test_every_included_file_and_every_file_with_a_relative_path_is_part_of_the_template(tmp_path: Path) -> None:
    outside = tmp_path / "etc/types"
    outside.parent.mkdir()
    outside.write_text("types { text/plain txt; }")
    home = tmp_path / "home"
    for name, text in {
        "edge/sites/b.conf": "gzip on;",
        "edge/sites/a.conf": "auth_basic_user_file users; include ../common.conf;",
        "edge/sites/.hidden.conf": "nonsense",
        "edge/users": "x:y",
        "common.conf": "tcp_nopush on;",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    text = PLAIN.replace("http {", f"http {{ include {outside}; include sites/*.conf; ssl_dhparam /etc/dh.pem;")
    settings = read(home, text, "edge/nginx.conf")
    assert settings.config is not None
    assert set(settings.config.files) == {
        *("edge/nginx.conf", "edge/sites/a.conf", "edge/sites/b.conf", "edge/users", "common.conf", str(outside))
    }
    rendered = render(settings)
    assert rendered.main == "conf/edge/nginx.conf"
    assert rendered.files[f"root{outside}"] == outside.read_text()
    assert f"include ../../root{outside};" in rendered.files["conf/edge/nginx.conf"]


def test_a_template_with_its_files_is_the_same_when_it_is_read_again_without_them(tmp_path: Path) -> None:
    settings = read(tmp_path)
    kept = HttpSettings.model_validate(settings.model_dump(mode="json", exclude_unset=True))
    (tmp_path / "nginx.conf").unlink()
    edge = tier()
    assert NginxHttp.with_files(kept, edge, chain(edge), tmp_path) == settings
    assert render(kept) == render(settings)


@pytest.mark.parametrize("value", ["CHANGEOVER_FOLDER/site", '"CHANGEOVER_FOLDER/site"', "'CHANGEOVER_FOLDER/site'"])
def test_the_folder_of_the_chain_file_may_have_a_space(tmp_path: Path, value: str) -> None:
    folder = tmp_path / """a "b" 'c'"""
    text = PLAIN.replace("http {", f"http {{ root {value};  # CHANGEOVER_FOLDER")
    settings = read(folder, text)
    assert settings.config is not None
    http = grammar.parse(settings.config.files["nginx.conf"], "nginx.conf")[3]
    assert http.block is not None
    assert http.block[0].values == (f"{folder}/site",)


def test_a_file_that_cannot_be_read_is_named_by_the_line_that_names_it(tmp_path: Path) -> None:
    said = refused(tmp_path, "events {}\nhttp { include no.conf; }")
    assert said.startswith("nginx.conf:2: no.conf cannot be read: No such file")


def test_a_file_above_the_folder_of_the_chain_file_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "../x.conf lies outside of the folder" in refused(home, "include ../x.conf;")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    said = refused(tmp_path, PLAIN.replace("http {", "http { ssl_session_ticket_key key;"))
    assert "key: the file is not text in UTF-8" in said


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    assert "includes itself" in refused(tmp_path, "include nginx.conf;")


def test_a_key_that_the_own_configuration_would_ignore_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="headers, routes would have no effect beside `config`"):
        HttpSettings.model_validate({"config": "nginx.conf", "routes": [{}], "headers": {"A": "b"}})
    with pytest.raises(ValueError, match="proxy_timeout would have no effect"):
        StreamSettings.model_validate({"config": "nginx.conf", "proxy_timeout": "1m"})


# -- what it must not do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("events {}", "daemon on; events {}", "nginx.conf:3: `daemon on`: the process that is started would end"),
        ("events {}", "master_process off; events {}", "nginx.conf:3: `master_process off`"),
        ("events {}", "working_directory /tmp; events {}", "nginx.conf:3: `working_directory /tmp`"),
        ("events {}", "worker_shutdown_timeout 10s; events {}", "cuts what drain.deadline, 1m, still allows"),
        ("http {", "http { lingering_close off;", "nginx.conf:4: `lingering_close off`: a client that still sends"),
        ("http {", "http { keepalive_time 1h;", "may stay as long as drain.deadline of tier edge, 1m"),
        ("http {", "http { keepalive_timeout 75;", "may stay as long as drain.deadline of tier edge, 1m"),
        (
            "http {",
            "http { upstream a { server CHANGEOVER_INNER; keepalive 2; keepalive_time 15m; }",
            "may stay as long as drain.deadline of tier runtime, 10m",
        ),
        ("http {", "http { root html;", "`root html` is relative"),
        ("listen CHANGEOVER_LISTEN;", "listen 443 ssl;", "nginx.conf:6: `listen 443 ssl`: old and new instances"),
        ("listen CHANGEOVER_LISTEN;", "listen unix:/run/a.sock;", "old and new instances"),
        ("listen CHANGEOVER_LISTEN;", "", "nginx.conf:5: a server without `listen` takes port 80"),
        ("CHANGEOVER_LISTEN;", "CHANGEOVER_LISTEN proxy_protocol;", "changeover adds it where the load balancer"),
        ("CHANGEOVER_LISTEN;", "CHANGEOVER_LISTEN quic;", "passes no UDP"),
        ("CHANGEOVER_LISTEN", "CHANGEOVER_LISTN", "no placeholder CHANGEOVER_LISTN\n  Did you mean CHANGEOVER_LISTEN?"),
        (
            "location / {",
            "location / { return 301 http://CHANGEOVER_LISTEN;",
            "not the whole first value of a `listen`",
        ),
        ("location / {", "location / { set $a CHANGEOVER_PROXY;", "CHANGEOVER_PROXY stands for a file"),
        ("http://changeover_inner", "http://10.0.0.7", "nothing in it sends requests to tier runtime behind edge"),
        ("http {", "mail {", "there is no http block"),
    ],
)
def test_what_would_break_a_drain_or_a_second_instance_is_refused_by_name(
    tmp_path: Path, was: str, becomes: str, said: str
) -> None:
    assert said in refused(tmp_path, PLAIN.replace(was, becomes))


def test_a_configuration_that_does_not_name_the_client_is_refused_where_the_chain_asks_for_it(tmp_path: Path) -> None:
    assert "does not pass it on" in refused(tmp_path, PLAIN, trusted=True)
    read(tmp_path, PLAIN.replace("proxy_pass", "include CHANGEOVER_PROXY; proxy_pass"), trusted=True)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        (PLAIN.replace("http {", "http { keepalive_timeout 5s;"), "keepalive_timeout", "4s"),
        (PLAIN.replace("http {", "http { keepalive_time 5s;"), "keepalive_time", "4s"),
        (PLAIN.replace("changeover_inner", "CHANGEOVER_INNER"), "upstream_keepalive_time", "4s"),
        (PLAIN.replace("changeover_inner", "CHANGEOVER_INNER"), "upstream_keepalive", 4),
    ],
)
def test_a_key_beside_the_configuration_that_would_have_no_effect_is_refused(
    tmp_path: Path, text: str, key: str, value: object
) -> None:
    assert f"`{key}` of the template has no effect here" in refused(tmp_path, text, **{key: value})


def test_a_socket_in_the_folder_of_the_instance_can_be_listened_to(tmp_path: Path) -> None:
    read(tmp_path, PLAIN.replace("http {", "http { server { listen unix:own.sock; }"))


def test_a_last_tier_needs_a_configuration_that_answers_and_passes_nothing_on(tmp_path: Path) -> None:
    edge = tier()
    alone = Chain.model_construct(name="c", tiers=(edge,), trusted_peers=())
    answers = PLAIN.replace("proxy_pass http://changeover_inner", "return 204")
    (tmp_path / "nginx.conf").write_text(answers)
    given = HttpSettings.model_validate({"config": "nginx.conf"})
    settings = NginxHttp.with_files(given, edge, alone, tmp_path)
    assert "return 204" in render(settings, behind=()).files["conf/nginx.conf"]
    (tmp_path / "nginx.conf").write_text(PLAIN)
    with pytest.raises(ChangeoverError, match="edge is the last tier, and this configuration sends requests"):
        NginxHttp.with_files(given, edge, alone, tmp_path)


def test_each_of_several_tiers_behind_has_a_placeholder_and_must_get_requests(tmp_path: Path) -> None:
    edge = tier(to=["runtime", "api-2"])
    api = BEHIND.model_copy(update={"name": "api-2"})
    whole = Chain.model_construct(name="c", tiers=(edge, BEHIND, api), trusted_peers=())
    given = HttpSettings.model_validate({"config": "nginx.conf"})
    (tmp_path / "nginx.conf").write_text(PLAIN)
    with pytest.raises(ChangeoverError, match="nothing in it sends requests to tier api-2 behind edge"):
        NginxHttp.with_files(given, edge, whole, tmp_path)
    other = "location /api { proxy_pass http://CHANGEOVER_INNER_API_2; }"
    (tmp_path / "nginx.conf").write_text(PLAIN.replace("location /", f"{other} location /"))
    behind = (INNER, replace(INNER, tier=api, address=Address("127.0.0.1", 20200)))
    text = render(NginxHttp.with_files(given, edge, whole, tmp_path), behind=behind).files["conf/nginx.conf"]
    assert "proxy_pass http://127.0.0.1:20200;" in text


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "takes"),
    [({}, "tls"), ({"tls": False}, "http"), ({"tls": {"certificate": "c.pem", "key": "c.key"}}, "tls")],
)
def test_clients_send_tls_unless_the_template_takes_none(settings: dict[str, Any], takes: str) -> None:
    assert NginxHttp.takes(HttpSettings.model_validate(settings)) == takes


@pytest.mark.parametrize(("parameters", "takes"), [("", "http"), (" ssl http2", "tls")])
def test_a_configuration_of_ones_own_takes_what_its_listen_says(tmp_path: Path, parameters: str, takes: str) -> None:
    settings = read(tmp_path, PLAIN.replace("CHANGEOVER_LISTEN", f"CHANGEOVER_LISTEN{parameters}"))
    assert NginxHttp.takes(settings) == takes


def test_a_certificate_of_ones_own_is_used_at_the_first_tier_alone(tmp_path: Path) -> None:
    edge = tier()
    given = HttpSettings.model_validate({"tls": {"certificate": "tls/a.pem", "key": "/etc/a.key"}})
    settings = NginxHttp.with_files(given, edge, chain(edge), tmp_path)
    conf = parse(http_conf(settings, launch_context(outermost=True), BINARY, as_root=False, descriptors=1024))
    server = conf.one("http").all("server")[0]
    assert server.value("ssl_certificate") == server.value("ssl_certificate_key") == ("$changeover_certificate",)
    assert isinstance(settings.tls, Certificate)
    assert certificate.files(settings.tls) == (tmp_path / "tls/a.pem", Path("/etc/a.key"))
    inside = Chain.model_construct(name="c", tiers=(BEHIND, edge, BEHIND), trusted_peers=())
    with pytest.raises(ChangeoverError, match="at the first tier alone"):
        NginxHttp.with_files(given, edge, inside, tmp_path)


# -- what is added ---------------------------------------------------------------------------------------------------


def test_no_line_of_the_users_moves(tmp_path: Path) -> None:
    text = PLAIN + "# the last line"
    assert len(render(read(tmp_path, text)).files["conf/nginx.conf"].splitlines()) == len(text.splitlines())


def test_what_is_added_is_said_with_its_place_and_its_reason(tmp_path: Path) -> None:
    context = {"hidden_paths": ("/inflight",)}
    said = "\n".join(map(str, render(read(tmp_path, keepalive_time="4s"), **context).changes))
    for part in (
        "nginx.conf: `daemon off` (",
        "nginx.conf:2: `pid /run/nginx.pid` becomes `pid nginx.pid` (",
        "nginx.conf:4: `keepalive_time 4s` (",
        "nginx.conf:4: a server for readiness and counts (",
        "nginx.conf:4: `upstream changeover_inner` (",
        "nginx.conf:5: 404 at /inflight (",
    ):
        assert part in said


def test_what_is_there_already_is_not_added(tmp_path: Path) -> None:
    text = PLAIN.replace("events", "daemon off; error_log /dev/null; worker_shutdown_timeout 5m; events").replace(
        "http {", "http { keepalive_time 5s; keepalive_timeout 6s; proxy_temp_path /tmp/x;"
    )
    rendered = render(read(tmp_path, text))
    whole = "".join(rendered.files.values())
    for name in ("daemon", "error_log", "worker_shutdown_timeout", "proxy_temp_path", "keepalive_time 5s"):
        assert whole.count(f"{name} ".replace("5s ", "5s")) == 1, name


def test_what_is_added_ends_connections_before_a_short_deadline(tmp_path: Path) -> None:
    rendered = render(read(tmp_path), tier=tier(drain={"deadline": "10s"}))
    assert "keepalive_time 5000ms;" in rendered.files["changeover/http.conf"]


def test_a_pool_of_the_users_own_ends_its_connections_in_time_and_never_gives_its_balancer_up(tmp_path: Path) -> None:
    pool = "upstream app { server CHANGEOVER_INNER; server 10.0.0.1 backup; keepalive 8; }"
    text = PLAIN.replace("http {", f"http {{ {pool}").replace("changeover_inner", "app")
    http = parse(render(read(tmp_path, text, upstream_keepalive_time="3s")).files["conf/nginx.conf"]).one("http")
    upstream = http.one("upstream")
    assert [one.words[1:] for one in upstream.all("server")] == [
        ("127.0.0.1:20100", "max_fails=0"),
        ("10.0.0.1", "backup"),
    ]
    assert upstream.value("keepalive_time") == ("3000ms",)


def test_clients_do_not_reach_the_control_paths_of_the_tiers_behind(tmp_path: Path) -> None:
    text = PLAIN.replace("location / {", "location = /readyz { return 204; } location / {")
    server = parse(render(read(tmp_path, text), hidden_paths=("/inflight", "/readyz")).files["conf/nginx.conf"])
    locations = server.one("http").one("server").all("location")
    assert [(one.words[-1], one.all("return")[0].words[1:]) for one in locations if one.all("return")] == [
        ("/inflight", ("404",)),
        ("/readyz", ("204",)),
    ]


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_the_state_folder_may_have_a_space(tmp_path: Path, quote: str) -> None:
    certificate = f"ssl_certificate {quote}CHANGEOVER_CERTIFICATE{quote};"
    settings = read(tmp_path, PLAIN.replace("listen", f"{certificate} listen"))
    files = render(settings, tls="/its 'state'/tls").files
    server = grammar.parse(files["conf/nginx.conf"], "nginx.conf")[-1]
    (found,) = [one for one in own_tree.everything([server]) if one.name == "ssl_certificate"]
    assert found.values == ("../../../../its 'state'/tls/edge.pem",)


def test_a_proxy_header_is_read_where_the_chain_asks_for_clients(tmp_path: Path) -> None:
    rendered = render(read(tmp_path), instance=replace(instance(), proxied=True))
    server = parse(rendered.files["conf/nginx.conf"]).one("http").one("server")
    assert server.value("listen") == ("127.0.0.1:20001", "proxy_protocol")


def test_a_configuration_of_an_l4_tier_gets_its_module_and_a_server_for_readiness(tmp_path: Path) -> None:
    (tmp_path / "l4.conf").write_text(STREAM)
    l4 = tier("nginx-stream")
    settings = NginxStream.with_files(StreamSettings.model_validate({"config": "l4.conf"}), l4, chain(l4), tmp_path)
    conf = parse(render(settings).files["conf/l4.conf"])
    assert conf.value("load_module") == ("/modules/ngx_stream_module.so",)
    assert conf.one("stream").one("server").value("proxy_pass") == ("127.0.0.1:20100",)
    assert conf.one("http").value("include") == ("../changeover/control.conf",)


def test_names_in_messages_of_nginx_are_the_users(tmp_path: Path) -> None:
    settings = read(tmp_path, path="edge/nginx.conf")
    assert settings.config is not None
    said = "in ./conf/edge/nginx.conf:3 and ./conf/edge/../../root/etc/nginx/mime.types:1"
    for ours, users in own_config.names(settings.config).items():
        said = said.replace(ours, users)
    assert said == "in edge/nginx.conf:3 and /etc/nginx/mime.types:1"
