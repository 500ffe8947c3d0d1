"""The reader of Envoy: both spellings of a key, discovery from files, durations, and what it refuses."""

from __future__ import annotations

import json

import pytest

from changeover.conf.envoy import read, seconds
from changeover.conf.place import Unreadable


def test_a_key_is_read_in_both_spellings_and_names_stay_as_they_are() -> None:
    text = json.dumps(
        {"staticResources": {"clusters": [{"name": "aB", "typedExtensionProtocolOptions": {"x.HttpA": 1}}]}}
    )
    (document,) = read(text, "envoy.json")
    (cluster,) = document.resources["clusters"]
    assert cluster.text("name") == "aB"
    assert cluster.text("typed_extension_protocol_options", "x.HttpA") == "1"


def test_a_file_of_discovery_is_read_by_the_kinds_in_it() -> None:
    kinds = {
        "listener.v3.Listener": "listeners",
        "route.v3.RouteConfiguration": "routes",
        "cluster.v3.Cluster": "clusters",
        "endpoint.v3.ClusterLoadAssignment": "endpoints",
    }
    listed = [{"@type": f"type.googleapis.com/envoy.config.{kind}", "name": kind} for kind in kinds]
    (document,) = read(json.dumps({"resources": listed}), "xds.json")
    assert document.asks is None
    assert {one.text("name"): kind for kind, (one,) in document.resources.items()} == kinds


@pytest.mark.parametrize(
    ("source", "from_file"),
    [
        ("{api_config_source: {api_type: GRPC}}", False),
        ("{ads: {}}", False),
        ("{path: /etc/lds.yaml}", True),
        ("{path_config_source: {path: /etc/lds.yaml}}", True),
    ],
)
def test_the_source_of_listeners_is_named(source: str, from_file: bool) -> None:
    (document,) = read(f"dynamic_resources:\n  lds_config: {source}\nstatic_resources: {{}}\n", "envoy.yaml")
    assert document.asks is not None
    assert (document.asks.line, document.from_file) == (2, from_file)


@pytest.mark.parametrize(
    ("text", "value"), [("15s", 15), ("0.25s", 0.25), ("0s", 0), ("15", None), ("1m", None), ("-1s", None), ("", None)]
)
def test_a_duration_is_read_as_protobuf_writes_it(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("static_resources: {}\n---\nstatic_resources: {}\n", "is one map"),
        ("static_resources: {}\nstaticResources: {}\n", "given twice"),
        ("static_resources: {{ x }}\n", "is a template"),
    ],
)
def test_what_envoy_would_not_read_is_refused(text: str, what: str) -> None:
    with pytest.raises(Unreadable, match=what):
        read(text, "envoy.yaml")
