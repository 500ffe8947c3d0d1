"""Google's own client of the Compute API, against the fake."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from tests.gcp.fakes import Fake, until
from tests.gcp.worlds import REGION, ZONE


def client(kind: Any, fake: Fake) -> Any:
    anonymous: Any = AnonymousCredentials
    return kind(credentials=anonymous(), client_options=ClientOptions(api_endpoint=fake.endpoint))


class ZonalGroup:
    """The group `web` of a zonal world."""

    def __init__(self, fake: Fake) -> None:
        self._managers = client(compute_v1.InstanceGroupManagersClient, fake)
        self._operations = client(compute_v1.ZoneOperationsClient, fake)
        self._services = client(compute_v1.BackendServicesClient, fake)
        self._here = {"project": fake.project, "zone": ZONE}
        self._name = {**self._here, "instance_group_manager": "web"}

    def get(self) -> Any:
        return self._managers.get(**self._name)

    def instances(self) -> dict[str, Any]:
        return {each.name: each for each in self._managers.list_managed_instances(**self._name)}

    def health(self) -> dict[str, str]:
        reference = compute_v1.ResourceGroupReference(group=f"zones/{ZONE}/instanceGroups/web")
        health = self._services.get_health(
            project=self._here["project"], backend_service="web", resource_group_reference_resource=reference
        )
        return {each.instance.rpartition("/")[2]: each.health_state for each in health.health_status}

    def healthy(self) -> set[str]:
        return {name for name, state in self.health().items() if state == "HEALTHY"}

    def serving(self, count: int) -> set[str]:
        """Wait until that many instances are healthy for the balancer and the group has nothing to do with them."""

        def done() -> set[str]:
            still = {name for name, each in self.instances().items() if each.current_action == "NONE"}
            found = still & self.healthy()
            return found if len(found) == count else set()

        return until(done, f"{count} serving instances")

    def create(self, *names: str, request_id: str | None = None) -> Any:
        body = compute_v1.InstanceGroupManagersCreateInstancesRequest(
            instances=[compute_v1.PerInstanceConfig(name=name) for name in names]
        )
        request = compute_v1.CreateInstancesInstanceGroupManagerRequest(
            **self._name, instance_group_managers_create_instances_request_resource=body, request_id=request_id
        )
        return self._managers.create_instances_unary(request=request)

    def delete(self, *names: str) -> Any:
        body = compute_v1.InstanceGroupManagersDeleteInstancesRequest(
            instances=[f"zones/{ZONE}/instances/{name}" for name in names]
        )
        return self._managers.delete_instances_unary(
            **self._name, instance_group_managers_delete_instances_request_resource=body
        )

    def patch(self, **fields: Any) -> Any:
        body = compute_v1.InstanceGroupManager(**fields)
        return self._managers.patch_unary(**self._name, instance_group_manager_resource=body)

    def resize(self, size: int) -> Any:
        return self._managers.resize_unary(**self._name, size=size)

    def wait_once(self, operation: Any) -> Any:
        return self._operations.wait(**self._here, operation=operation.name)

    def wait(self, operation: Any) -> Any:
        end = time.monotonic() + 40
        while operation.status != compute_v1.Operation.Status.DONE:
            assert time.monotonic() < end
            operation = self.wait_once(operation)
        return operation


class RegionalGroup:
    """The group `web` of a regional world."""

    def __init__(self, fake: Fake) -> None:
        self._managers = client(compute_v1.RegionInstanceGroupManagersClient, fake)
        self._operations = client(compute_v1.RegionOperationsClient, fake)
        self._here = {"project": fake.project, "region": REGION}
        self._name = {**self._here, "instance_group_manager": "web"}

    def get(self) -> Any:
        return self._managers.get(**self._name)

    def instances(self) -> dict[str, Any]:
        return {each.name: each for each in self._managers.list_managed_instances(**self._name)}

    def zones(self) -> Counter[str]:
        """Instances in each zone."""
        return Counter(each.instance.split("/")[-3] for each in self.instances().values())

    def stable(self, count: int) -> bool:
        return bool(self.get().status.is_stable and len(self.instances()) == count)

    def create(self, *names: str) -> Any:
        body = compute_v1.RegionInstanceGroupManagersCreateInstancesRequest(
            instances=[compute_v1.PerInstanceConfig(name=name) for name in names]
        )
        return self._managers.create_instances_unary(
            **self._name, region_instance_group_managers_create_instances_request_resource=body
        )

    def delete(self, *urls: str, **more: Any) -> Any:
        body = compute_v1.RegionInstanceGroupManagersDeleteInstancesRequest(instances=urls, **more)
        return self._managers.delete_instances_unary(
            **self._name, region_instance_group_managers_delete_instances_request_resource=body
        )

    def patch(self, **fields: Any) -> Any:
        body = compute_v1.InstanceGroupManager(**fields)
        return self._managers.patch_unary(**self._name, instance_group_manager_resource=body)

    def resize(self, size: int) -> Any:
        return self._managers.resize_unary(**self._name, size=size)

    def wait(self, operation: Any) -> Any:
        end = time.monotonic() + 40
        while operation.status != compute_v1.Operation.Status.DONE:
            assert time.monotonic() < end
            operation = self._operations.wait(**self._here, operation=operation.name)
        return operation
