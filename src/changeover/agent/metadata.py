"""Watches Google's metadata server for notices of the machine's end: preemption, a stop, maintenance that ends it.

It waits in one open request for each key (`wait_for_change`), so a notice arrives at once and the wait costs little.
Without a metadata server it asks again every minute: the machine is not Google's, or its network is not up yet. A
notice holds until the server takes it back: a server that fails takes back nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from changeover.kit.direct_http import DirectClient, DirectResponse, NoResponse

HOST = "169.254.169.254"
"""`metadata.google.internal`, without a question to DNS. GCE_METADATA_HOST names another one, as for Google's tools."""
FLAVOR = {"Metadata-Flavor": "Google"}
NEVER_SEEN = "NONE"
"""In place of the ETag of the last answer: the first one comes at once."""

NOTICES: Mapping[str, tuple[Collection[str], str]] = MappingProxyType(
    {
        "preempted": (("TRUE",), "the VM is being preempted"),
        "shutdown-details/stop-state": (("PENDING_STOP", "STOPPING"), "the VM is stopping"),
        "maintenance-event": (("TERMINATE_ON_HOST_MAINTENANCE",), "the VM is ended for maintenance of its host"),
    }
)
"""Key below instance/ -> the values that are a notice, and the notice in words."""


@dataclass(frozen=True)
class MetadataTiming:
    """Seconds."""

    wait: int = 15
    """For which the server holds a request that has nothing to report."""
    grace: float = 5.0
    """Beyond that, until a request counts as lost: in all less than the 30 s of a preempted VM."""
    absent: float = 5.0
    """Between two questions for a key that is not there: a stop-state exists only while the VM stops. Also the longest
    pause after a server that has answered once fails to: it is Google's, and back within seconds."""
    retry: float = 1.0
    """After the first failure; doubled with each further one."""
    rarest: float = 60.0
    """Between two questions where none was ever answered: the machine is not Google's."""


class Metadata:
    """`on_notice(words, on)` is called with each change. `state`: what the watch has come to, in words."""

    def __init__(
        self, client: DirectClient, on_notice: Callable[[str, bool], None], timing: MetadataTiming = MetadataTiming()
    ) -> None:
        self._client = client
        self._on_notice = on_notice
        self._timing = timing
        self._host = os.environ.get("GCE_METADATA_HOST") or HOST
        self._failures = dict.fromkeys(NOTICES, f"{self._host} has not answered yet")

    @property
    def state(self) -> str:
        return f"not watched: {min(self._failures.values())}" if self._failures else "watched"

    async def watch(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as watches:
            for key in NOTICES:
                watches.create_task(self._watch(key))

    async def _watch(self, key: str) -> None:
        values, words = NOTICES[key]
        seen, pause = NEVER_SEEN, self._timing.retry
        noticed: bool | None = None  # an earlier agent may have had a notice that does not hold any more
        rarest = self._timing.rarest
        while True:
            try:
                response = await self._ask(key, seen)
            except NoResponse as error:
                self._failures[key] = str(error)
                await asyncio.sleep(pause)
                seen, pause = NEVER_SEEN, min(2 * pause, rarest)
                continue
            self._failures.pop(key, None)
            pause, rarest = self._timing.retry, self._timing.absent
            found = response.status_code == 200 and response.text.strip() in values
            if found != noticed:
                noticed = found
                self._on_notice(words, found)
            if response.status_code == 404:
                await asyncio.sleep(self._timing.absent)
            seen = response.headers.get("etag", NEVER_SEEN) if response.status_code == 200 else NEVER_SEEN
            if seen == NEVER_SEEN and response.status_code == 200:
                await asyncio.sleep(self._timing.absent)  # a server that names no version answers at once

    async def _ask(self, key: str, seen: str) -> DirectResponse:
        """Of Google's server, with 200 or 404. Raises NoResponse."""
        query = f"wait_for_change=true&timeout_sec={self._timing.wait}&last_etag={seen}"
        url = f"http://{self._host}/computeMetadata/v1/instance/{key}?{query}"
        timeout = self._timing.grace + (0 if seen == NEVER_SEEN else self._timing.wait)
        response = await self._client.request("GET", url, headers=FLAVOR, timeout=timeout)
        if response.headers.get("metadata-flavor") != "Google":
            raise NoResponse(f"{self._host} is not Google's metadata server")
        if response.status_code not in (200, 404):
            raise NoResponse(f"{self._host} answered {response.status_code} for instance/{key}")
        return response
