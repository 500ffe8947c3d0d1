"""A running chain listens on what docs/security.md lists, and on no address of the network."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.chain.chains import Chain, running_in

LISTENS = "0A"


def listeners() -> dict[str, str]:
    """Inode of each listening TCP socket of this machine -> its address, in both families."""
    found = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else ():
            _, local, _, state, *rest = line.split()
            if state == LISTENS:
                address, _, port = local.partition(":")
                found[rest[5]] = f"{address}:{int(port, 16)}"
    return found


def sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets that a process has open."""
    names = []
    for number in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(str(number.readlink()))
        except FileNotFoundError:
            continue
    return {name[len("socket:[") : -1] for name in names if name.startswith("socket:[")}


def test_a_chain_listens_on_loopback_addresses_that_its_records_name(resting: Chain) -> None:
    known: set[int] = set()
    for record in (resting.state / "instances").glob("*/instance.json"):
        instance = json.loads(record.read_text(encoding="utf-8"))
        known |= {instance[name]["port"] for name in ("address", "control")}
    entries = json.loads((resting.state / "platform.json").read_text(encoding="utf-8"))["entries"]
    known |= {int(address.rpartition(":")[2]) for address in entries.values()}
    open_now = listeners()
    mine = {open_now[inode] for pid in running_in(resting.state) for inode in sockets_of(pid) & open_now.keys()}
    assert mine
    for address in mine:
        host, _, port = address.partition(":")
        assert host == "0100007F", f"{address} is no loopback address"
        assert int(port) in known, f"port {port} is in no record"


def test_the_sockets_in_its_state_folder_are_the_operators_alone(resting: Chain) -> None:
    found = [file for file in resting.state.rglob("*") if file.is_socket()]
    assert {file.name for file in found} >= {"haproxy.sock", "admin.sock"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in found} == {0o600}
    assert stat.S_IMODE(resting.state.stat().st_mode) == 0o700
