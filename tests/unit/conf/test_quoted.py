"""A file that only quotes configuration is none: prose with examples, programs with heredocs and strings."""

from __future__ import annotations

import pytest

from changeover.conf.registry import SHELL, reader_of

NGINX = "http {\n    server { listen 80; location / { proxy_pass http://app; } }\n}\n"
HAPROXY = "global\n    daemon\n\nfrontend web\n    bind :80\n    default_backend app\n"
UNIT = "[Service]\nExecStart=/usr/sbin/nginx\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", f"# Set-up\n\n```nginx\n{NGINX}```\n"),
        ("docs/page.rst", f"Set-up\n======\n\n{NGINX}"),
        ("PKG-INFO", f"Metadata-Version: 2.4\n\n{NGINX}"),
        ("namespaces.txt", f"Linux network namespaces\n\n{HAPROXY}"),
        ("install", f"#!/bin/bash\ncat > /etc/systemd/system/nginx.service <<'EOF'\n{UNIT}EOF\n"),
        ("startup-script", f"mkdir -p /etc/app\ncat > /etc/systemd/system/nginx.service <<'EOF'\n{UNIT}EOF\n"),
        ("install.sh", f"cat > /etc/nginx/nginx.conf <<'EOF'\n{NGINX}EOF\n"),
        ("test_nginx.py", f'CONF = """\n{NGINX}"""\n'),
        ("conf_test.go", f"package conf\n\nconst conf = `\n{NGINX}`\n"),
    ],
)
def test_what_quotes_configuration_is_none(file: str, text: str) -> None:
    assert reader_of(text, file) in {None, SHELL}


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("nginx.conf", NGINX, "nginx"),
        ("nginx.txt", NGINX, "nginx"),
        ("nginx", NGINX, "nginx"),
        ("nginx.service", UNIT, "systemd unit"),
        ("nginx.service", f"# the edge\n\n{UNIT}", "systemd unit"),
        ("nginx.service", f"{{% if edge %}}\n{UNIT}{{% endif %}}\n", "systemd unit"),
        ("haproxy.cfg", f"# the edge\n\n{HAPROXY}", "HAProxy"),
        ("gunicorn.conf.py", "#!/usr/bin/env python\nworkers = 2\ntimeout = 60\n", "settings of gunicorn"),
    ],
)
def test_configuration_itself_is_recognised_whatever_its_name(file: str, text: str, name: str) -> None:
    reader = reader_of(text, file)
    assert reader is not None
    assert reader.name == name
