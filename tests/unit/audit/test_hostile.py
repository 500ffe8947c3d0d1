"""Input that is made to break the auditor: a clear refusal or an answer, in a short time, and never a traceback."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.files import load
from changeover.conf.nginx.assemble import assemble
from changeover.conf.nginx.reader import NginxFile
from changeover.conf.registry import NGINX

TF = 'resource "google_compute_backend_service" "a" {\n'
CASES: dict[str, tuple[str, str]] = {
    "deep": ("a.conf", "http {" + "a {" * 50_000),
    "quotes": ("a.conf", "http { server { listen 80; } }\n" + 'a "' * 50_000),
    "deep expression": ("a.tf", f"{TF} x = {'(' * 9000}1{')' * 9000}\n}}\n"),
    "deep list": ("a.tf", f"{TF} x = {'[' * 3000}{']' * 3000}\n}}\n"),
    "circle of locals": ("a.tf", f"locals {{\n a = local.b\n b = local.a\n}}\n{TF} timeout_sec = local.a\n}}\n"),
    "module in itself": ("a.tf", f'module "a" {{\n source = "./"\n}}\nmodule "b" {{\n source = "./"\n}}\n{TF}}}\n'),
    "locals that grow": (
        "a.tf",
        "locals {\n l0 = 1\n"
        + "".join(f" l{n} = [{', '.join([f'local.l{n - 1}'] * 8)}]\n" for n in range(1, 30))
        + f"}}\n{TF} timeout_sec = local.l29\n}}\n",
    ),
    "aliases that grow": (
        "a.yml",
        "_format_version: '3.0'\na0: &a0 [x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
    ),
    "merges that grow": (
        "a.yml",
        "_format_version: '3.0'\nm0: &m0 {a: 1}\n"
        + "".join(f"m{n}: &m{n}\n  <<: [*m{n - 1}, *m{n - 1}]\n  k{n}: 1\n" for n in range(1, 40)),
    ),
    "deep JSON": ("a.json", '{"kind": "compute#x", "a": ' + '{"a": ' * 2000),
    "numbers": (
        "a.yml",
        "_format_version: '3.0'\nservices:\n- {name: a, host: b, port: 1e400, retries: 99999999999999999999}\n"
        "- {name: c, url: 'http://x:99999999999999999999'}\nupstreams: {a: 1}\n"
        "plugins: hello\nroutes: [1, [2], {p: 3}]\n",
    ),
    "compose": (
        "a.yml",
        "services:\n  a:\n    image: nginx\n    stop_grace_period: 9999999999h\n  b:\n  c: [1]\n  d: {image: 5}\n",
    ),
    "python": ("gunicorn.conf.py", "bind = 'x'\nworkers = " + "-" * 50_000 + "1\n"),
    "python numbers": ("gunicorn.conf.py", "bind = 'x'\nworkers = 10**10**10\ntimeout = 9**9**9\n"),
    "heredocs": ("Dockerfile", "FROM a\n" + "RUN <<E\n" * 20_000),
    "unit": ("nginx.service", "[Service]\nExecStart=nginx\n" + "ExecStop=a\\\n" * 20_000),
    "times": ("nginx.service", f"[Service]\nExecStart=nginx\nTimeoutStopSec={'9' * 4000}\n"),
    "kong": ("kong.conf", f"proxy_listen = 0.0.0.0:{'9' * 30}\nupstream_keepalive_idle_timeout = {'9' * 400}\n"),
    "a long chain": (
        "a.conf",
        "http { proxy_request_buffering off;\n"
        + "".join(
            f"server {{ listen {n}; location / {{ proxy_pass http://127.0.0.1:{n + 1}; }} }}\n"
            for n in range(20_000, 21_000)
        )
        + "}",
    ),
    "many servers": (
        "a.conf",
        "http {\n"
        + "".join(
            f"server {{ listen {n}; location / {{ proxy_pass http://10.0.{n // 250}.{n % 250}; }} }}\n"
            for n in range(1, 6_000)
        )
        + "}",
    ),
    "directives within each other": (
        "a.tf",
        'resource "a" "b" {\n  x = <<E\n' + "%{ if true }" * 20_000 + "%{ endif }" * 20_000 + "\nE\n}\n",
    ),
    "files in a config map": (
        "a.yaml",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n"
        + "".join(f"  n{n}.conf: |\n    http {{ server {{ listen 80; }} }}\n" for n in range(12_000)),
    ),
    "as many files as a manifest may have": (
        "a.yaml",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n"
        + "".join(f"  n{n}.conf: |\n    http {{ server {{ listen 80; }} }}\n" for n in range(500)),
    ),
    "more servers than a file may have": (
        "a.conf",
        "http {\n" + "server { listen 80; location / { proxy_pass http://a; } }\n" * 22_000 + "}",
    ),
    "a dump of more servers than a file may have": (
        "dump",
        "".join(
            f"# configuration file /etc/nginx/{n}.conf:\n"
            + "server { listen 80; location / { proxy_pass http://a; } }\n" * 1_000
            for n in range(20)
        ),
    ),
    "a word of nginx and spaces": ("a.conf", "listen" + " " * 400_000),
    "a section of HAProxy and empty lines": ("a.cfg", "defaults" + "\n" * 400_000),
    "words of nginx within lines and spaces": ("a.conf", "; http {\n{listen" + " " * 400_000),
    "many upstreams": (
        "a.conf",
        "http {\n"
        + "".join(
            f"upstream u{n} {{ server 10.0.0.1:{n}; }}\n"
            f"server {{ listen {n}; location / {{ proxy_pass http://u{n}; }} }}\n"
            for n in range(1, 400)
        )
        + "}",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_hostile_input_has_an_answer_in_a_short_time(name: str, tmp_path: Path) -> None:
    file, text = CASES[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    start = time.process_time()
    loaded = load([tmp_path / file])
    audit(loaded.documents, Assumptions(), loaded.texts)
    assert loaded.unreadable or loaded.documents
    assert time.process_time() - start < 5


def test_parts_that_include_others_are_followed_in_a_short_time() -> None:
    files = {f"{n}/nginx.conf": "http { include conf.d/*.conf; }" for n in range(500)}
    files |= {f"{n}/conf.d/a.conf": "include params; server { listen 80; }" for n in range(500)}
    read = {file: one for file, text in files.items() for one in NGINX.read(text, file)}
    start = time.process_time()
    assert len(assemble({file: one for file, one in read.items() if isinstance(one, NginxFile)})) == 500
    assert time.process_time() - start < 5


def test_links_in_a_circle_and_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conf").symlink_to("b.conf")
    (tmp_path / "b.conf").symlink_to("a.conf")
    (tmp_path / "u.json").write_bytes(json.dumps({"kind": "compute#x"}).encode("utf-16"))
    (tmp_path / "main.conf").write_text("http { include [ab].conf; server { listen 80; } }", encoding="utf-8")
    loaded = load([tmp_path / "main.conf", tmp_path / "u.json"])
    assert {Path(one.place.file).name for one in loaded.unreadable} == {"a.conf", "b.conf", "u.json"}


def test_a_long_chain_of_hops_is_joined_in_a_short_time() -> None:
    """Each hop in a file of its own: that the last one is behind no buffer is known from the first one alone."""
    files = {
        f"{n}.conf": f"http {{ proxy_request_buffering off; server {{ listen {n};"
        f" location / {{ proxy_pass http://127.0.0.1:{n + 1}; }} }} }}\n"
        for n in range(20_000, 22_000)
    }
    start = time.process_time()
    found = audit([one for file, text in files.items() for one in NGINX.read(text, file)], Assumptions(), files)
    assert len(found.view.links) == 1_999
    assert not any(map(found.view.buffered, found.view.hops))
    assert time.process_time() - start < 20
