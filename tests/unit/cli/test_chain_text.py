from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from changeover.cli.chain_text import ChainWishes, chain_text, words_of
from changeover.hops import registry
from changeover.model import chainfile


def written(command: str = "gunicorn app:app", front: dict[str, str] | None = None, **more: Any) -> str:
    plain: dict[str, Any] = {"name": "shop", "size": 2, "ready": "/", "port": 0}
    return chain_text(ChainWishes(command=words_of(command), front=front or {}, **{**plain, **more}))


def command_of(text: str) -> list[str]:
    words: list[str] = yaml.safe_load(text)["tiers"][-1]["templates"]["v1"]["command"]
    return words


@pytest.mark.parametrize("edge", [{}, {"edge": "nginx"}, {"edge": "haproxy"}])
@pytest.mark.parametrize("gateway", [{}, {"gateway": "envoy"}, {"gateway": "kong"}])
def test_the_text_is_a_valid_chain_with_the_wanted_tiers(edge: dict[str, str], gateway: dict[str, str]) -> None:
    text = written(front=edge | gateway, size=3, ready="/healthz?full=1", port=8443)
    chain = chainfile.read(text, "chain.yaml", registry.known_hops()).chain
    assert [(tier.name, tier.kind) for tier in chain.tiers] == [*(edge | gateway).items(), ("app", "app")]
    assert {tier.size for tier in chain.tiers} == {3}
    assert (chain.listen, chain.tiers[-1].health.path) == ("127.0.0.1:8443", "/healthz?full=1")
    assert all(list(tier.templates) == ["v1", "v2"] for tier in chain.tiers)


def test_every_key_that_a_newcomer_changes_has_a_comment() -> None:
    lines = written(front={"edge": "nginx"}).splitlines()
    for key in ("listen", "kind: nginx", "path", "deadline", "min_ready", "templates:   ", "version: v2"):
        assert any(key in line and "#" in line for line in lines), key


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gunicorn -w 4 app:app", ["gunicorn", "-w", "4", "app:app", "--bind", "{host}:{port}", "--keep-alive", "65"]),
        ("/srv/venv/bin/uvicorn app:app", ["/srv/venv/bin/uvicorn", "app:app", "--host", "{host}", "--port", "{port}"]),
        ("python3 -m uvicorn app:app", ["python3", "-m", "uvicorn", "app:app", "--host", "{host}", "--port", "{port}"]),
        ("python -m http.server", ["python", "-m", "http.server", "--bind", "{host}", "{port}"]),
        ("python app.py --port {port}", ["python", "app.py", "--port", "{port}"]),
        ("gunicorn app:app -b {host}:{port}", ["gunicorn", "app:app", "-b", "{host}:{port}"]),
        ("sh -c 'exec \"./run me\"'", ["sh", "-c", 'exec "./run me"']),
    ],
)
def test_known_servers_get_their_address_and_a_given_one_stays(command: str, words: list[str]) -> None:
    assert command_of(written(command)) == words


def test_an_unknown_server_gets_its_address_in_the_environment() -> None:
    (tier,) = yaml.safe_load(written("node server.js"))["tiers"]
    assert tier["templates"]["v2"]["env"] == {"HOST": "{host}", "PORT": "{port}"}
    assert "env" not in yaml.safe_load(written("gunicorn app:app"))["tiers"][0]["templates"]["v1"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_any_words_come_back_from_the_file(words: list[str]) -> None:
    wishes = ChainWishes("shop", tuple(words), {}, 2, "/", 0)
    assert command_of(chain_text(wishes)) == words


@pytest.mark.parametrize("command", ["", "  ", "a 'b"])
def test_a_command_that_cannot_be_read_is_refused(command: str) -> None:
    with pytest.raises(ValueError, match=r"empty|quotation"):
        words_of(command)
