"""Every reader: any text is read or refused, by its own error alone."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.conf.place import Unreadable
from changeover.conf.registry import READERS, Reader, reader_of

PARTS = [
    *("http {", "server {", "}", ";", "listen 80;", "proxy_pass http://a;", "include *;", '"', "'", "\\", "{{ x }}"),
    *("[Service]", "ExecStop=", "TimeoutStopSec=1min 5", "KillSignal", "=", "\\\n", "\n", "# a", ";b"),
    *("[program:a]\n", "command=gunicorn a", "FROM a\n", 'CMD ["a"]\n', "RUN <<E\n", "E\n", "services:\n", "  a:\n"),
    *("    image: b\n", "workers = 1\n", "timeout = int(x or 3)\n", 'resource "a" "b" {', "_format_version: 1\n"),
    *("global\n", "frontend a\n", "defaults b\n", " bind :80\n", " server a b:1\n", " timeout client 5s\n", "from b"),
    *(
        "static_resources:\n",
        "  listeners:\n",
        "  - {name: a}\n",
        "resources: []\n",
        "type.googleapis.com/envoy.config.a",
    ),
    *("# configuration file /etc/nginx/nginx.conf:\n", "nginx version: nginx/1.2.3\n", "<% x %>", "${X}", "é", "\x01"),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@given(parts=st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=15))
def test_any_text_is_read_or_refused(reader: Reader, parts: list[str]) -> None:
    text = "".join(parts)
    reader.recognises(text, "a.conf")
    with suppress(Unreadable):
        for document in reader.read(text, "a.conf"):
            assert document.file == "a.conf"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize(
    "part",
    [
        "\n",
        " \n",
        "[program:a]\n",
        "FROM a\n",
        "FROM ",
        "workers = 1\n",
        "(",
        "services:\n",
        "a {",
        "}",
        '"',
        "\\\n",
        "a=b\n",
        "[",
        "{",
        "- ",
        "a;\n",
        "  ",
        "x",
        "defaults\n",
        "listen a\n mode http\n",
    ],
)
def test_a_long_run_of_one_thing_takes_no_long_time(reader: Reader, part: str) -> None:
    text = part * (100_000 // len(part))
    start = time.process_time()
    reader.recognises(text, "a")
    with suppress(Unreadable):
        reader.read(text, "a")
    assert time.process_time() - start < 3, "quadratic work takes ten times as long"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("events {}\nhttp { }", "nginx"),
        ("  location / {\n  proxy_pass http://a;\n}", "nginx"),
        ("upstream a { server b:1; }", "nginx"),
        ("# configuration file /etc/nginx/nginx.conf:\nuser a;", "nginx"),
        ("[Unit]\nDescription=a\n[Service]\nExecStart=/bin/a", "systemd unit"),
        ("global\n    daemon\n", "HAProxy"),
        ("frontend a\n  bind :80 # b\n", "HAProxy"),
        ("static_resources: {}\n", "Envoy: bootstraps and files of its discovery (YAML, JSON)"),
        ('{"staticResources": {}}', "Envoy: bootstraps and files of its discovery (YAML, JSON)"),
        ("apiVersion: v1\nkind: ConfigMap\ndata:\n  envoy.yaml: |\n    static_resources: {}\n", "Kubernetes manifests"),
        ("hello", None),
        ("# http {", None),
        ("{'server': 1}", None),
        ("", None),
    ],
)
def test_a_file_is_recognised_by_its_content(text: str, name: str | None) -> None:
    found = reader_of(text, "a")
    assert (found.name if found else None) == name


def test_terraform_whose_startup_script_holds_a_unit_and_a_dockerfile_is_terraform() -> None:
    script = "[Unit]\n[Service]\nExecStart=/bin/a\nFROM a\nserver { listen 80; }"
    text = f'resource "google_compute_instance_template" "a" {{\n  metadata_startup_script = <<E\n{script}\nE\n}}\n'
    found = reader_of(text, "main.tf")
    assert found is not None
    assert found.name == "Terraform"
