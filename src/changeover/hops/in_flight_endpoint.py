"""The count of an instance that counts its own requests and uploads. An odd answer is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changeover.kit.http import NoResponse
from changeover.model.instance import InFlight, Instance, Upload
from changeover.ports import Unknown

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectClient

PATH = "/inflight"


async def in_flight(client: DirectClient, instance: Instance, path: str = PATH) -> InFlight:
    """What the instance reports at its control address. Raises Unknown, with the URL and the answer.

    Only `requests` is required: the kernel counts connections, too.
    """
    url = f"http://{instance.control}{path}"
    try:
        response = await client.request("GET", url)
    except NoResponse as error:
        raise Unknown(f"{instance.name}: {error}") from error
    try:
        if response.status_code != 200:
            raise ValueError("the status is not 200")
        report = response.json()
        uploads = tuple(Upload(u["received"], u["expected"], u["seconds"]) for u in report.get("uploads", ()))
        return InFlight(int(report["requests"]), int(report.get("connections", 0)), uploads)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        answer = f"{response.status_code} {response.text[:80]!r}"
        raise Unknown(f'{instance.name}: GET {url} answered {answer}, and not 200 with {{"requests": n}}') from error
