"""Configuration that a ConfigMap holds is judged like a file, at the lines of the manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.audit.expectations import audited, expected, violations

from changeover.audit.files import load
from changeover.audit.finding import Outcome
from changeover.conf.nginx.reader import NginxFile
from changeover.conf.registry import reader_of

MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: edge}
data:
  LEVEL: debug
  notes.txt: |
    nothing of
    interest
  haproxy.cfg: |-
    global
        # expect: HAP01
        hard-stop-after 10s
    defaults
        mode http
        timeout client 60s
    frontend web
        bind :8080
        default_backend app
    backend app
        server a 10.0.0.5:9000
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge}
spec:
  template:
    spec:
      # expect: K8S01
      terminationGracePeriodSeconds: 5
      containers:
      - {name: web, image: registry.example.com/edge:3, ports: [{containerPort: 8080}]}
"""
NGINX = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: edge}
data:
  nginx.conf: |
    events {}
    http {
        include /etc/nginx/proxy.conf;
        server { listen 8080; location / { proxy_pass http://10.0.0.5:9000; } }
    }
  proxy.conf: |
    proxy_connect_timeout 40s;
    proxy_next_upstream_tries 1;
"""


def test_each_format_in_a_config_map_has_the_lines_of_the_manifest() -> None:
    files = {"edge.yaml": MANIFEST}
    found = audited(files, {"behind": "clients"})
    wanted = expected(files)
    assert {one for one in violations(found) if one[2] in {"HAP01", "K8S01"}} == wanted
    assert {hop.software for hop in found.view.hops} == {"haproxy"}


def test_an_include_names_another_key_of_the_config_map() -> None:
    found = audited({"edge.yaml": NGINX}, {"edge-timeout": "30s"})
    (one,) = [one.finding for one in found.of(Outcome.VIOLATED) if one.rule.id == "NGX13"]
    line = NGINX[: NGINX.index("proxy_connect_timeout")].count("\n") + 1
    assert (one.place.file, one.place.line) == ("edge.yaml", line)


def test_config_maps_of_a_list_are_read() -> None:
    indented = "".join(f"  {line}\n" for line in NGINX.splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n- {indented.lstrip()}"
    reader = reader_of(text, "all.yaml")
    assert reader is not None
    assert [one.path for one in reader.read(text, "all.yaml") if isinstance(one, NginxFile)] == [
        "all.yaml#edge/nginx.conf",
        "all.yaml#edge/proxy.conf",
    ]


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        ("  nginx.conf: |\n    events {}\n    http {\n", 8, "{"),
        ("  nginx.conf: |\n    events {}\n    http { server { listen ${PORT}; } }\n", 7, "template"),
        ('  nginx.conf: "events {}\\nhttp {\\n}\\n"\n', 5, "block"),
    ],
)
def test_what_cannot_be_read_in_a_config_map_is_named_and_hides_no_pod(
    tmp_path: Path, data: str, line: int, what: str
) -> None:
    pod = MANIFEST.partition("---\n")[2]
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: edge}}\ndata:\n{data}---\n{pod}"
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    loaded = load([file])
    (error,) = loaded.unreadable
    assert (error.place.file, error.place.line) == (str(file), line)
    assert what in error.what
    assert len(loaded.documents) == 1


def test_a_config_map_of_other_things_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "levels.yaml").write_text("apiVersion: v1\nkind: ConfigMap\ndata:\n  a.txt: |\n    one\n    two\n")
    loaded = load([tmp_path])
    assert (loaded.documents, loaded.unreadable) == ([], [])
    assert loaded.skipped == [str(tmp_path / "levels.yaml")]


SIDECAR = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 600
      initContainers:
      - {name: migrate, image: "nginx:1.27", ports: [{containerPort: 1}]}
      - {name: proxy, image: "nginx:1.27", restartPolicy: Always, ports: [{containerPort: 8080}]}
      containers:
      - {name: web, image: registry.example.com/shop:2, ports: [{containerPort: 8000}]}
"""


def test_a_sidecar_is_unknown_since_its_signal_waits_for_the_other_containers() -> None:
    found = audited({"shop.yaml": SIDECAR})
    about = {
        (one.rule.id, one.finding.place.line) for one in found.of(Outcome.UNKNOWN) if "proxy" in one.finding.object
    }
    assert {("NGX01", 10), ("K8S01", 10)} <= about
    assert not [one for one in found.judged if "migrate" in one.finding.object]
