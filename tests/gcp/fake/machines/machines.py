"""Every VM of the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.gcp.fake.machines.network import Network
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.resources.links import link
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.errors import not_found


class Machines:
    def __init__(self, store: Store, network: Network, folder: Path, metadata_port: int, kind: type[Vm] = Vm) -> None:
        self._store = store
        self._network = network
        self._folder = folder
        self._metadata_port = metadata_port
        self._kind = kind
        self._vms: dict[str, Vm] = {}
        self._addresses: dict[str, Vm] = {}

    def new(self, path: str, template: str, created_by: str) -> Vm:
        """A VM of a template, not yet started. Its number and its address are its own, even where its name is not."""
        properties = self._store.get(template)["properties"]
        address = self._network.vm()
        vm = self._kind(
            path,
            self._store.number(),
            template,
            properties,
            address,
            self._metadata_port,
            self._folder / f"{path.rsplit('/', 1)[-1]}-{address}",
        )
        vm.created_by = created_by
        vm.template = template
        self._vms[path] = self._addresses[address] = vm
        return vm

    def get(self, path: str) -> Vm:
        """Raises ApiError where there is none."""
        if (vm := self._vms.get(path)) is None:
            raise not_found(path)
        return vm

    def find(self, path: str) -> Vm | None:
        return self._vms.get(path)

    def at(self, address: str) -> Vm | None:
        """Also one that is no more."""
        return self._addresses.get(address)

    def under(self, collection: str) -> Iterator[Vm]:
        yield from (self._vms[path] for path in sorted(self._vms) if path.rpartition("/")[0] == collection)

    def forget(self, vm: Vm) -> None:
        if self._vms.get(vm.path) is vm:
            del self._vms[vm.path]

    def __iter__(self) -> Iterator[Vm]:
        return iter(list(self._vms.values()))


def group_link(manager: str) -> str:
    """The instance group that belongs to a manager, zonal or regional."""
    return link(manager.replace("/instanceGroupManagers/", "/instanceGroups/"))
