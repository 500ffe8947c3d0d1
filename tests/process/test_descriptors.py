"""A real HAProxy has the descriptors that it needs for the connections that it is given."""

from __future__ import annotations

from pathlib import Path

from tests.process.balanced import Balancer, Web, through_haproxy
from tests.process.test_affinity import run, tier

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.model.chain import Chain
from changeover.model.instance import Instance
from changeover.platforms.local.haproxy import SOCKET, most_connections


def test_haproxy_starts_for_a_user_who_may_open_few_files(tmp_path: Path) -> None:
    """It refuses to start where it needs more than the hard limit. 4096 is the one of many ordinary users."""
    most = most_connections(Chain(tiers=(tier("none"),)), 4096)

    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        answer = await RuntimeApi(str(tmp_path / SOCKET)).ask("show info")
        info = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
        assert int(info["Maxconn"]) == most
        assert int(info["Ulimit-n"]) <= 4096

    run(tmp_path, through_haproxy, "none", story, most=most)
