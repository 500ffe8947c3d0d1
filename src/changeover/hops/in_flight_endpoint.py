"""`GET /inflight` of an instance that counts its own requests and uploads. An odd answer is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changeover.kit.http import NoResponse, ask
from changeover.model.instance import InFlight, Instance, Upload
from changeover.ports import Unknown

if TYPE_CHECKING:
    import httpx


async def in_flight(client: httpx.AsyncClient, instance: Instance) -> InFlight:
    """What the instance reports at its control address. Raises Unknown."""
    try:
        response = await ask(client, "GET", f"http://{instance.control}/inflight")
    except NoResponse as error:
        raise Unknown(str(error)) from error
    try:
        if response.status_code != 200:
            raise ValueError(f"status {response.status_code}")
        report = response.json()
        uploads = tuple(Upload(u["received"], u["expected"], u["seconds"]) for u in report["uploads"])
        return InFlight(int(report["requests"]), int(report["connections"]), uploads)
    except (ValueError, KeyError, TypeError) as error:
        raise Unknown(f"{instance.name}: /inflight did not answer as it should: {error!r}") from error
