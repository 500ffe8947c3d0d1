"""VMs with the real agent beside the application: a roll drains them by what the kernel of each VM's address shows.

The agents speak TLS, to the controller and to the health checks of the balancer; the controller has a certificate.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.gcp.chains import AGENT_PORT, GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import APP, PORT, template

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

NAME = "changeover-agent"
"""In the certificate that all agents have, as from an image."""
SCRIPT = f"""
HOST=${{GCE_METADATA_HOST%%:*}}
NAME=$(curl -s -H 'Metadata-Flavor: Google' "http://$GCE_METADATA_HOST/computeMetadata/v1/instance/name")
{sys.executable} -I -S {APP} {PORT} &
cat > agent.yaml <<END
kind: app
name: $NAME
host: $HOST
port: {PORT}
listen: $HOST:{AGENT_PORT}
lame_duck_file: $PWD/lame-duck
tls: {{certificate: TLS/agent.crt, key: TLS/agent.key, client_ca: TLS/ca.crt}}
END
exec {sys.executable} -m changeover agent --config agent.yaml
"""
"""The application ends at once on SIGTERM: only an empty VM may be deleted."""


def certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    agent = authority.issue_cert(NAME)
    agent.private_key_pem.write_to_path(str(folder / "agent.key"))
    agent.cert_chain_pems[0].write_to_path(str(folder / "agent.crt"))
    authority.issue_cert("controller").private_key_and_cert_chain_pem.write_to_path(str(folder / "controller.pem"))


def real_world(tls: Path) -> Json:
    world = agent_world(drain=1, speed=10)
    script = SCRIPT.replace("TLS", str(tls))
    world["resources"]["global/instanceTemplates"] = [template(name, script) for name in ("web-v1", "web-v2")]
    world["resources"]["global/backendServices"][0]["timeoutSec"] = 600
    ready = world["resources"]["global/healthChecks"][1]
    ready |= {"type": "HTTPS", "httpsHealthCheck": ready.pop("httpHealthCheck")}
    return world


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder)
    return folder


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory, tls: Path) -> Iterator[Fake]:
    with running(real_world(tls), tmp_path_factory.mktemp("fake")) as made:
        ZonalGroup(made).serving(2)
        yield made


def test_a_roll_waits_for_the_uploads_that_the_agents_see(fake: Fake, tls: Path, tmp_path: Path) -> None:
    asked = {"ca": str(tls / "ca.crt"), "certificate": str(tls / "controller.pem"), "name": NAME}
    group = ZonalGroup(fake)
    chain = GcpChain(fake, tmp_path, tier={"agent": {"port": AGENT_PORT, "tls": asked}})
    chain.run("up")
    assert chain.status()["state"] == "serving"
    with Traffic(fake.address("web"), uploads=4, upload_seconds=4.0) as traffic:
        until(lambda: traffic.outcomes["POST 200"] >= 4 or traffic.lost, "uploads to arrive")
        chain.run("roll", "web", "--to", "v2")
    assert traffic.lost == []
    assert traffic.outcomes["POST 200"] > 8
    assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
    until(lambda: len(group.instances()) == 2, "the old VMs to be deleted")
    found = chain.run("doctor", "-f", str(chain.file), code=1)
    assert "fatal" not in found, found
    chain.run("down")


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_vm_whose_agent_is_dead_is_replaced_and_what_it_had_is_named_as_unknown(
    fake: Fake, tls: Path, tmp_path: Path
) -> None:
    asked = {"ca": str(tls / "ca.crt"), "certificate": str(tls / "controller.pem"), "name": NAME}
    group = ZonalGroup(fake)
    drain = {"deadline": "3s", "policy": "cut"}
    chain = GcpChain(fake, tmp_path, tier={"agent": {"port": AGENT_PORT, "tls": asked}, "drain": drain})
    group.serving(2)
    chain.run("up")
    running = chain.status()["tiers"][0]["template"]
    victim = min(group.instances())
    (pid,) = agents_of(victim)
    os.kill(pid, signal.SIGKILL)
    until(lambda: victim not in group.healthy(), "the balancer to leave it out", 60)
    found = chain.run("doctor", "-f", str(chain.file), code=1)
    assert "every backend service finds the VM unhealthy" in found
    assert "fatal" not in found, found
    with Traffic(fake.address("web")) as traffic:
        process = chain.start("roll", "web", "--to", "v1" if running == "v2" else "v2")
        said, error = process.communicate(timeout=300)  # half a minute of silence is a part of it
    assert process.returncode == 3, error
    assert traffic.lost == []
    assert f"{victim}: cut at the drain deadline: unknown" in said + error
    assert victim not in {one["name"] for one in chain.status()["instances"]}
    chain.run("down")
    until(lambda: len(group.instances()) == 2, "the old VMs to be deleted", 60)


def agents_of(vm: str) -> list[int]:
    """The processes of its agent."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and f"/{vm}-" in f"{os.readlink(entry / 'cwd')}-":  # noqa: PTH115
                command = (entry / "cmdline").read_bytes()
                found += [int(entry.name)] if b"changeover" in command else []
    return found


def test_a_vm_that_is_preempted_leaves_the_balancer_by_itself(fake: Fake) -> None:
    group = ZonalGroup(fake)
    victim = min(group.serving(2))
    logs = list(fake.folder.rglob(f"{victim}-*/log"))
    fake.fault(do="preempt", instance=victim)
    said = "the VM is being preempted: the agent answers not ready from now on"
    until(lambda: any(said in log.read_text(encoding="utf-8") for log in logs), "the agent to see the notice")
