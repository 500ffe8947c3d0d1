"""Samples from Prometheus, or whatever speaks its HTTP API (`/api/v1/query`).

One finite number is an answer. No series, several series, NaN, an infinite value, a warning (part of the data could
not be read) and an error are reasons why there is none. Prometheus itself answers with the last value for up to
five minutes after a series has stopped, unless the target told it so: ask for `rate` or `increase` over
`$interval`, which is empty as soon as the interval is.

Ages: the query is evaluated for either side at the moment when its youngest instance had the age in question, so
with a fresh baseline `[$interval]` covers the same age on both. Without one, both are evaluated at the same time.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

import httpx

from changeover.engine.metrics.source import too_young
from changeover.model.guard import Condition, Prometheus
from changeover.model.instance import Instance
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen

_SHOWN = 200  # characters of an error text that go into a reason


class PrometheusSource:
    """Remembers nothing, so one may serve any number of runs. `instances`: where addresses are looked up by name."""

    def __init__(self, client: httpx.AsyncClient, server: Prometheus, instances: Mapping[str, Instance]) -> None:
        self._client = client
        self._server = server
        self._instances = instances

    async def begin(self, sides: Cohorts, at: float) -> None:
        """Nothing to take down: every query names its own interval."""

    async def measure(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
        asked = [(sides.canary, sides.template)]
        if condition.against_baseline:
            asked.append((sides.baseline, sides.old_template))
            for side, _ in asked:
                if why := too_young(sides, side, at, condition.interval):
                    return Missing(at, key, why)
        try:
            async with asyncio.timeout(self._server.timeout):
                values = [await self._ask(condition, sides, side, template, at) for side, template in asked]
        except TimeoutError:
            return Missing(at, key, f"{self._server.url} did not answer within {self._server.timeout:g} s")
        except Unknown as error:
            return Missing(at, key, str(error))
        return Sample(at, key, values[0], values[1] if condition.against_baseline else None)

    async def _ask(
        self, condition: Condition, sides: Cohorts, side: tuple[CohortMember, ...], template: str, at: float
    ) -> float:
        query = self._filled(condition, side, template)
        when = at
        if condition.against_baseline:
            when = max(end for _, end in sides.window(side, at, condition.interval).values())
        try:
            answer = await self._client.post(
                f"{self._server.url.rstrip('/')}/api/v1/query",
                data={"query": query, "time": f"{when:.3f}"},
                headers=self._headers(),
                timeout=self._server.timeout,
            )
            return one_number(_json(answer))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unknown(f"{self._server.url}: {str(error) or type(error).__name__}") from error
        except OSError as error:
            raise Unknown(f"{self._server.bearer_token_file}: {error.strerror}") from error
        except Unknown as error:
            raise Unknown(f"{self._server.url}: {error}; asked for {template}: {query.strip()}") from error

    def _filled(self, condition: Condition, side: tuple[CohortMember, ...], template: str) -> str:
        query = Template(condition.query)
        return query.safe_substitute(
            instances=_either(one.name for one in side),
            addresses=_either(map(self._address, side)) if "addresses" in query.get_identifiers() else "",
            template=template,
            interval=f"{condition.interval * 1000:.0f}ms",
        )

    def _address(self, one: CohortMember) -> str:
        if (instance := self._instances.get(one.name)) is None:
            raise Unknown(f"the address of {one.name} is not known")  # left out, the query would be about others
        return str(instance.address)

    def _headers(self) -> dict[str, str]:
        if not self._server.bearer_token_file:
            return {}
        return {"Authorization": f"Bearer {Path(self._server.bearer_token_file).read_text().strip()}"}


def _json(answer: httpx.Response) -> Any:
    """The document of an answer; Prometheus explains its 4xx and 5xx in one, too."""
    try:
        return answer.json()
    except ValueError:
        raise Unknown(f"it answered {answer.status_code} and not in JSON: {answer.text[:_SHOWN]!r}") from None


def one_number(document: Any) -> float:
    """The one finite number of an answer. Raises Unknown, saying what it is instead."""
    try:
        if document["status"] != "success":
            raise Unknown(f"{document.get('errorType', 'error')}: {str(document.get('error', 'unknown'))[:_SHOWN]}")
        if warnings := document.get("warnings"):
            raise Unknown(f"the answer may be incomplete: {str(warnings[0])[:_SHOWN]}")
        kind, result = document["data"]["resultType"], document["data"]["result"]
        if kind == "vector":
            if len(result) != 1:
                raise Unknown("there is no series" if not result else f"there are {len(result)} series, not one number")
            result = result[0]["value"]
        elif kind != "scalar":
            raise Unknown(f"the query comes to a {kind}, not to one number")
        value = float(result[1])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Unknown(f"this is not an answer of Prometheus: {error!r}") from error
    if not math.isfinite(value):
        raise Unknown(f"it is {result[1]}")
    return value


def _either(names: Iterable[str]) -> str:
    """A regular expression, to be put between double quotes, that matches exactly these."""
    return "|".join(re.sub(r"[^\w:-]", lambda special: f"[{special[0]}]", name) for name in names)
