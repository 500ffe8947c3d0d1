"""What an instance says of itself at `/inflight` of its control address, where its software counts by itself."""

from __future__ import annotations

import httpx

from changeover.kit.http import NoResponse, ask
from changeover.model.instance import InFlight, Instance, Upload
from changeover.ports import Unknown


async def in_flight(client: httpx.AsyncClient, instance: Instance) -> InFlight:
    """Raises Unknown."""
    try:
        answer = await ask(client, "GET", f"http://{instance.control}/inflight")
        told = answer.raise_for_status().json()
        uploads = tuple(Upload(u["received"], u["expected"], u["seconds"]) for u in told["uploads"])
        return InFlight(int(told["requests"]), int(told["connections"]), uploads)
    except NoResponse as error:
        raise Unknown(str(error)) from error
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
        raise Unknown(f"{instance.name}: /inflight did not answer as it should: {error!r}") from error
