"""Examples of every rule and whole sets, mutated: each is refused, or judged by every rule and shown as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.audit.expectations import fixture

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.rules import all_rules
from changeover.audit.timeline import timeline
from changeover.conf.document import Document
from changeover.conf.place import Unreadable
from changeover.conf.registry import reader_of

SHELL = """\
#!/bin/sh
set -e
if [ -n "$A" ]; then exec gunicorn -k "$K" "$@"; fi
trap "kill -QUIT $P" TERM
exec nginx -g "daemon off;"
"""
BACKEND = """\
apiVersion: cloud.google.com/v1
kind: BackendConfig
metadata: {name: web}
spec:
  timeoutSec: 40
  connectionDraining: {drainingTimeoutSec: 60}
  healthCheck: {type: HTTP, requestPath: /, port: 80, checkIntervalSec: 5}
"""
POLICY = """\
apiVersion: networking.gke.io/v1
kind: GCPBackendPolicy
metadata: {name: web}
spec:
  default: {timeoutSec: 40, connectionDraining: {drainingTimeoutSec: 60}}
  targetRef: {group: "", kind: Service, name: web}
"""
MAPPED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: edge}
data:
  nginx.conf: |
    events {}
    http { include conf.d/*.conf; }
  app.conf: |
    server { listen 80; location / { proxy_pass http://app:8000; } }
  haproxy.cfg: |
    global
      hard-stop-after 30s
    listen a
      mode http
      bind :81
      server b 10.0.0.1:80
  kong.yml: |
    _format_version: "3.0"
    services: [{name: a, url: "http://b:80"}]
"""
TERRAFORM = json.dumps(
    {
        "locals": {"drain": "${60 * 2}"},
        "resource": {
            "google_compute_backend_service": {
                "web": {"protocol": "HTTP", "timeout_sec": 30, "connection_draining_timeout_sec": "${local.drain}"}
            }
        },
    },
    indent=1,
)
GCLOUD = json.dumps({"kind": "compute#backendService", "name": "web", "protocol": "HTTP", "timeoutSec": 60}, indent=1)
OWN = {
    "run.sh": SHELL,
    "backend.yaml": BACKEND,
    "policy.yaml": POLICY,
    "map.yaml": MAPPED,
    "main.tf.json": TERRAFORM,
    "described.json": GCLOUD,
}
VALUES = ["", "null", "{}", "[]", "-1", "0", "1e400", "9" * 40, "${var.x}", "{{ x }}", '"', "yes", "é", "\x01", "a b"]


def _corpus() -> Iterator[dict[str, str]]:
    yield from ({file: text} for file, text in OWN.items())
    for rule in all_rules():
        yield dict(rule.bad)
        yield dict(rule.good)
    for folder in sorted((Path(__file__).parent / "fixtures").iterdir()):
        yield fixture(folder)[0]


CORPUS = list(_corpus())
CHANGES = ("drop", "twice", "swap", "value", "cut", "indent", "join", "key")


def mutated(text: str, change: str, at: int, value: str) -> str:
    lines = text.split("\n")
    at %= len(lines)
    line = lines[at]
    if change == "drop":
        del lines[at]
    elif change == "twice":
        lines.insert(at, line)
    elif change == "swap":
        lines[at - 1], lines[at] = line, lines[at - 1]
    elif change == "value":
        head, sign, _ = line.rpartition(next((one for one in ("=", ":", " ") if one in line.strip()), " "))
        lines[at] = f"{head}{sign}{value}" + (";" if line.rstrip().endswith(";") else "")
    elif change == "cut":
        del lines[at + 1 :]
        lines[at] = line[: len(line) // 2]
    elif change == "indent":
        lines[at] = f"  {line}"
    elif change == "join":
        lines[at] = line + (lines.pop(at + 1) if at + 1 < len(lines) else "")
    else:
        lines[at] = value + line.lstrip()
    return "\n".join(lines)


@given(
    files=st.sampled_from(CORPUS),
    changes=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(CHANGES), st.integers(0, 200), st.sampled_from(VALUES)),
        min_size=1,
        max_size=4,
    ),
)
def test_mutated_configuration_is_refused_or_judged(
    files: dict[str, str], changes: list[tuple[int, str, int, str]]
) -> None:
    new = dict(files)
    for file, change, at, value in changes:
        name = list(new)[file % len(new)]
        new[name] = mutated(new[name], change, at, value)
    read: list[Document] = []
    for name, text in new.items():
        with suppress(Unreadable):
            reader = reader_of(text, name)
            read += reader.read(text, name) if reader is not None else ()
    found = audit(read, Assumptions(), new)
    assert all(one.finding.what for one in found.judged)
    timeline(found.view, Assumptions())
