"""Whole configurations of nginx: includes, dumps, fragments."""

from __future__ import annotations

import pytest

from changeover.conf.nginx.assemble import NginxConf, assemble
from changeover.conf.nginx.reader import everything, read
from changeover.conf.place import Unreadable


def assembled(**files: str) -> list[NginxConf]:
    texts = {name.replace("__", "/").replace("_conf", ".conf"): text for name, text in files.items()}
    return assemble({one.path: one for name, text in texts.items() for one in read(text, name)})


def names(conf: NginxConf) -> list[str]:
    return [str(one) for one in everything(conf.main)]


def test_an_include_is_replaced_by_the_files_that_it_names() -> None:
    (conf,) = assembled(
        nginx_conf="http { include /etc/nginx/sites/*.conf; include mime.types; }",
        sites__a_conf="server { include inner.conf; }",
        inner_conf="listen 80;",
    )
    assert names(conf) == ["http", "server", "listen 80", "include mime.types"]


def test_files_that_include_each_other_end() -> None:
    confs = assembled(a_conf="http { include b.conf; }", b_conf="server { } include a.conf;")
    assert len(confs) == 1


def test_a_dump_is_one_configuration_with_the_lines_of_the_dump() -> None:
    text = (
        "nginx version: nginx/1.22.1\nnginx: the file is ok\n# configuration file /etc/nginx/nginx.conf:\n"
        "http {\n  include /etc/nginx/conf.d/*.conf;\n}\n\n# configuration file /etc/nginx/conf.d/a.conf:\nserver { }\n"
    )
    (conf,) = assemble({one.path: one for one in read(text, "dump.txt")})
    assert names(conf) == ["http", "server"]
    assert [one.line for one in everything(conf.main)] == [4, 9]
    assert conf.version == (1, 22, 1)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("server { listen 80; location / { proxy_pass http://a; } }", "http"),
        ("server { listen 80; proxy_pass a:1; }", "stream"),
        ("upstream a { server b:1; }", "http"),
    ],
)
def test_a_fragment_stands_in_the_block_that_it_is_for(text: str, kind: str) -> None:
    (conf,) = assembled(a_conf=text)
    assert conf.fragment
    assert names(conf)[0] == kind


@pytest.mark.parametrize("text", ["a {{ b }};", 'a "{{ b }}";', "a <% b %>;", "a @@PORT@@;", "{% if a %}\nb;"])
def test_a_template_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="is a template"):
        read(text, "a.conf")


def test_braces_in_quotes_and_comments_are_no_template() -> None:
    assert read('# {{ managed }}\nlog_format a \'{"b":{"c":"$d"}}\';', "a.conf")
