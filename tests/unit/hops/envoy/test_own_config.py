"""A bootstrap of the user's own: what it must not do, and what is added for one instance. Envoy checks the result."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.unit.answered import Answered
from tests.unit.hops.contexts import BEHIND, INNER, instance, launch_context, tier

from changeover.hops.envoy.hop import Envoy
from changeover.hops.envoy.router import EnvoyRouter
from changeover.hops.envoy.settings import EnvoySettings
from changeover.kit.direct_http import DirectClient
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance, LaunchSpec
from changeover.platforms.local.output import check_now
from changeover.ports import Broken, CannotStart, Unknown

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
PLAIN = f"""# mine
static_resources:
  listeners:
    - address: CHANGEOVER_LISTEN
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": {MANAGER}
                stat_prefix: mine
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: {{prefix: /}}
                          route: {{cluster: runtime}}
                http_filters:
                  - name: router
                    typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
    - name: elsewhere
      load_assignment: {{cluster_name: elsewhere}}
"""
LISTENER = "static_resources.listeners[0]"
HTTP = f"{LISTENER}.filter_chains[0].filters[0].typed_config"


def read(
    folder: Path,
    text: str = PLAIN,
    *,
    first: bool = True,
    trusted: bool = False,
    behind: tuple[Tier, ...] = (BEHIND,),
    **given: Any,
) -> EnvoySettings:
    """The template of a chain file in that folder, with that text as its configuration."""
    (folder / "envoy.yaml").write_text(text)
    gateway = tier("envoy", name="gateway", drain={"deadline": "60s"}, to=[one.name for one in behind])
    front = () if first else (tier("nginx", to=["gateway"]),)
    peers = ("10.0.0.0/8",) if trusted else ()
    whole = Chain.model_construct(name="c", tiers=(*front, gateway, *behind), trusted_peers=peers)
    return Envoy.with_files(EnvoySettings.model_validate({"config": "envoy.yaml", **given}), gateway, whole, folder)


def launched(settings: EnvoySettings, **given: Any) -> LaunchSpec:
    return Envoy(DirectClient()).launch(settings, launch_context(**given))


def rendered(settings: EnvoySettings, **given: Any) -> Any:
    return json.loads(launched(settings, **given).files["envoy.json"])


def refused(folder: Path, text: str, **given: Any) -> str:
    with pytest.raises(ChangeoverError) as error:
        read(folder, text, **given)
    return str(error.value)


def checked(launch: LaunchSpec, folder: Path) -> None:
    for name, text in launch.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    check_now(launch, folder, {}, 20.0)


# -- what is read --------------------------------------------------------------------------------------------------


def test_a_template_with_its_text_is_the_same_when_it_is_read_again_without_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path)
    kept = EnvoySettings.model_validate(settings.model_dump(mode="json", exclude_unset=True))
    (tmp_path / "envoy.yaml").unlink()
    gateway = tier("envoy")
    whole = Chain.model_construct(tiers=(gateway, BEHIND))
    assert Envoy.with_files(kept, gateway, whole, tmp_path) == settings
    assert launched(kept) == launched(settings)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "envoy.yaml:1: the file is not YAML"),
        ("- a", "envoy.yaml: the file is not a bootstrap of Envoy"),
        ("{}", "nothing in it listens at the address of the instance"),
        ("static_resources: 7", "nothing in it listens"),
        ("static_resources: {listeners: [7, {filter_chains: 7}, {filter_chains: [{filters: [7]}]}]}", "nothing in it"),
    ],
)
def test_a_file_that_is_no_bootstrap_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in refused(tmp_path, text)


def test_a_key_that_the_own_configuration_would_ignore_is_refused() -> None:
    with pytest.raises(ValueError, match="headers, routes would have no effect beside `config`"):
        EnvoySettings.model_validate({"config": "envoy.yaml", "routes": [{}], "headers": {"A": "b"}})


# -- what it must not do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "address: CHANGEOVER_LISTEN",
            "address: {socket_address: {address: 0.0.0.0, port_value: 80}}",
            f"{LISTENER}.address: old and new instances run side by side",
        ),
        (
            "address: CHANGEOVER_LISTEN",
            "address: {socket_address: {address: CHANGEOVER_LISTEN, port_value: 80}}",
            "CHANGEOVER_LISTEN stands for a whole address",
        ),
        (
            "  clusters:",
            "    - address: CHANGEOVER_LISTEN\n  clusters:",
            f"static_resources.listeners[1]: CHANGEOVER_LISTEN is taken by {LISTENER} already",
        ),
        ("      filter_chains", "      drain_type: MODIFY_ONLY\n      filter_chains", f"{LISTENER}.drain_type"),
        ("stat_prefix: mine", "stat_prefix: control", "requests of control are not counted"),
        ("stat_prefix: mine", "statPrefix: mine", "`statPrefix`: changeover reads the names of fields as"),
        ("cluster: runtime", "cluster: elsewhere", "nothing in it sends requests to tier runtime"),
        ("- name: elsewhere", "- name: runtime", "clusters[0].load_assignment: changeover sets the members"),
        ("route_config:", "rds: {}\n                route_config:", f"{HTTP}.rds: changeover could not see"),
        ("# mine", "dynamic_resources: {lds_config: {}}", "dynamic_resources.lds_config: two instances would get"),
        ("# mine", "node: {id: CHANGEOVER_INSTANZ}", "Did you mean CHANGEOVER_INSTANCE?"),
        (
            "stat_prefix: mine",
            "common_http_protocol_options: {idle_timeout: 60s}",
            "an idle connection of a client may stay as long as drain.deadline",
        ),
        (
            "stat_prefix: mine",
            "common_http_protocol_options: {idle_timeout: 0s}",
            "an idle connection of a client may stay as long as drain.deadline",
        ),
    ],
)
def test_what_works_against_a_drain_or_a_second_instance_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    assert old in PLAIN
    assert reason in refused(tmp_path, PLAIN.replace(old, new))


def test_clients_of_an_inner_tier_close_idle_connections_themselves(tmp_path: Path) -> None:
    text = PLAIN.replace("stat_prefix: mine", "common_http_protocol_options: {idle_timeout: 3600s}")
    read(tmp_path, text, first=False)
    assert "idle_timeout" not in json.dumps(rendered(read(tmp_path, first=False))["static_resources"]["listeners"][0])


def test_affinity_that_the_own_routes_do_not_have_is_refused(tmp_path: Path) -> None:
    sticky = BEHIND.model_copy(update={"affinity": tier(affinity={"cookie": "at"}).affinity})
    assert "of tier runtime would have no effect: these routes are your own" in refused(
        tmp_path, PLAIN, behind=(sticky,)
    )


def test_a_chain_that_asks_for_clients_needs_a_configuration_that_names_them(tmp_path: Path) -> None:
    assert f"{HTTP}: the chain asks its first tier for the address" in refused(tmp_path, PLAIN, trusted=True)
    text = PLAIN.replace("stat_prefix: mine", "stat_prefix: mine\n                use_remote_address: true")
    found = rendered(read(tmp_path, text, trusted=True), instance=replace(instance(), proxied=True))
    assert [one["name"] for one in found["static_resources"]["listeners"][0]["listener_filters"]] == ["proxy"]


def test_a_key_beside_a_field_of_the_own_cluster_has_no_effect(tmp_path: Path) -> None:
    text = PLAIN.replace("clusters:\n", "clusters:\n    - {name: runtime, connect_timeout: 1s}\n")
    assert "`connect_timeout` of the template has no effect" in refused(tmp_path, text, connect_timeout="3s")


# -- what is added -------------------------------------------------------------------------------------------------


def test_each_addition_has_its_place_and_its_reason_and_envoy_accepts_the_whole(tmp_path: Path) -> None:
    settings = read(tmp_path, PLAIN)
    context = launch_context(hidden_paths=("/inflight",), trusted_peers=())
    assert [change.partition(" (")[0] for change in Envoy.changes(settings, context) or ()] == [
        "envoy.yaml: admin: added, a socket in the folder of the instance",
        "envoy.yaml: static_resources.listeners: a listener on a port of its own",
        f"envoy.yaml: {HTTP}.common_http_protocol_options: `idle_timeout: 20s`",
        f"envoy.yaml: {HTTP}.route_config.virtual_hosts[0].routes: 404 at /inflight",
        "envoy.yaml: layered_runtime: a layer for the size of patterns",
        "envoy.yaml: static_resources.clusters: cluster runtime, with its members from a file",
    ]
    checked(launched(settings, hidden_paths=("/inflight",), trusted_peers=()), tmp_path)


def test_the_cluster_of_a_tier_behind_keeps_the_fields_of_the_user(tmp_path: Path) -> None:
    own = "clusters:\n    - {name: runtime, lb_policy: LEAST_REQUEST, connect_timeout: 1s}\n"
    launch = launched(read(tmp_path, PLAIN.replace("clusters:\n", own)))
    cluster = json.loads(launch.files["envoy.json"])["static_resources"]["clusters"][0]
    assert (cluster["type"], cluster["lb_policy"], cluster["connect_timeout"]) == ("EDS", "LEAST_REQUEST", "1s")
    assert cluster["eds_cluster_config"]["eds_config"]["path_config_source"]["path"] == INNER.membership
    checked(launch, tmp_path)


def test_every_placeholder_is_filled_in_and_an_admin_interface_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a: 'b' #"
    folder.mkdir()
    head = """admin: {address: {socket_address: {address: 0.0.0.0, port_value: 9901}}}
node:
  id: CHANGEOVER_INSTANCE-CHANGEOVER_TEMPLATE
  metadata: {at: CHANGEOVER_FOLDER/x, tls: [CHANGEOVER_CERTIFICATE]}"""
    settings = read(folder, PLAIN.replace("# mine", head))
    found = rendered(settings)
    assert found["node"] == {
        "id": "edge-v1-1-v1",
        "cluster": "edge",
        "metadata": {"at": f"{folder}/x", "tls": ["/state/tls/edge.pem"]},
    }
    assert found["admin"]["address"] == {"pipe": {"path": "admin.sock", "mode": 0o600}}
    assert found["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] == 20001
    assert any("admin: replaced" in one for one in Envoy.changes(settings, launch_context()) or ())


def test_each_of_several_tiers_behind_has_its_cluster(tmp_path: Path) -> None:
    web = Tier.model_validate({"name": "web", "kind": "app", "templates": {"v1": {}}})
    assert "nothing in it sends requests to tier web" in refused(tmp_path, PLAIN, behind=(BEHIND, web))
    weighted = "route: {weighted_clusters: {clusters: [{name: runtime, weight: 1}, {name: web, weight: 1}]}}"
    settings = read(tmp_path, PLAIN.replace("route: {cluster: runtime}", weighted), behind=(BEHIND, web))
    found = rendered(settings, behind=(INNER, replace(INNER, tier=web)))
    assert [one["name"] for one in found["static_resources"]["clusters"]] == ["elsewhere", "runtime", "web"]


def test_clients_send_what_the_listener_at_the_address_of_the_instance_takes(tmp_path: Path) -> None:
    assert Envoy.takes(read(tmp_path)) == "http"
    document = yaml.safe_load(PLAIN)
    (chain,) = document["static_resources"]["listeners"][0]["filter_chains"]
    context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    chain["transport_socket"] = {"name": "tls", "typed_config": {"@type": context}}
    assert Envoy.takes(read(tmp_path, yaml.safe_dump(document))) == "tls"
    proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    chain["filters"] = [{"name": "tcp", "typed_config": {"@type": proxy, "stat_prefix": "t", "cluster": "runtime"}}]
    chain.pop("transport_socket")
    assert Envoy.takes(read(tmp_path, yaml.safe_dump(document))) == "bytes"


def test_a_mistake_is_refused_with_envoys_own_message(tmp_path: Path) -> None:
    settings = read(tmp_path, PLAIN.replace("stat_prefix", "nonsense: 1\n                stat_prefix"))
    with pytest.raises(CannotStart) as error:
        checked(launched(settings), tmp_path)
    # Envoy puts a random number of spaces between the words of such a message.
    message = "".join(str(error.value).split())
    assert "'envoy.yaml':" in message
    assert "nosuchfield:'nonsense'" in message


# -- what its counters say -----------------------------------------------------------------------------------------


def test_what_a_death_broke_is_unknown_as_soon_as_one_node_has_an_own_bootstrap(tmp_path: Path) -> None:
    generated, own = (replace(instance(name), directory=str(tmp_path / name)) for name in ("edge-v1-1", "edge-v2-2"))
    for node, settings in ((generated, EnvoySettings()), (own, read(tmp_path))):
        for name, text in launched(settings).files.items():
            (Path(node.directory) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(node.directory) / name).write_text(text)
    counters = ("upstream_cx_destroy_remote_with_active_rq", "upstream_rq_pending_failure_eject", "upstream_rq_retry")
    stats = "\n".join(f"cluster.runtime.{counter}: 0" for counter in counters)

    def answer(request: httpx.Request) -> httpx.Response:
        hosts = json.dumps({"cluster_statuses": []})
        return httpx.Response(200, text=stats if request.url.path == "/stats" else hosts)

    async def broken(*nodes: Instance) -> Any:
        client = Answered(answer=answer)
        router = EnvoyRouter(client, "runtime", str(tmp_path / "members.json"), lambda: nodes)
        return await router.broken(frozenset(["runtime-v1-1"]))

    assert asyncio.run(broken(generated)) == {"runtime-v1-1": {"edge-v1-1": Broken(0, 0)}}
    with pytest.raises(Unknown, match="edge-v2-2 runs a bootstrap of its own, whose retries hide"):
        asyncio.run(broken(generated, own))
