"""Samples from Prometheus, or another server with its HTTP API (`/api/v1/query`).

One finite number is a sample. No series, several series, NaN, an infinite value, a warning (part of the data could
not be read) and an error are reasons why there is none. Prometheus itself responds with the last value for up to
five minutes after a series has stopped, unless the target marked it as stale: query `rate` or `increase` over
`$interval`, which is empty as soon as the interval is.

Ages: the query is evaluated for each cohort at the moment when its youngest instance had the age in question, so
with a fresh baseline `[$interval]` covers the same age on both. Without one, both are evaluated at the same time.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from changeover.engine.metrics.source import too_young
from changeover.kit import http
from changeover.kit.redact import hide_credentials
from changeover.model.guard import Condition, Prometheus
from changeover.model.instance import Instance
from changeover.model.revision import template_of
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen

if TYPE_CHECKING:
    import httpx

_SHOWN = 200  # characters of an error text that go into a reason


class PrometheusSource:
    """Holds no state, so one serves any number of guard runs. `instances`: name -> instance, for their addresses."""

    def __init__(self, server: Prometheus, instances: Mapping[str, Instance]) -> None:
        self._client = http.client(http.public_tls() if server.url.startswith("https:") else None)
        self._server = server
        self._instances = instances

    async def begin(self, cohorts: Cohorts, at: float) -> None:
        """Records nothing: every query names its own interval."""

    async def measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        queried = [(cohorts.canary, cohorts.template)]
        if condition.against_baseline:
            queried.append((cohorts.baseline, cohorts.old_template))
            for side, _ in queried:
                if reason := too_young(cohorts, side, at, condition.interval):
                    return Missing(at, key, reason)
        try:
            async with asyncio.timeout(self._server.timeout):
                values = [await self._query(condition, cohorts, side, template, at) for side, template in queried]
        except TimeoutError:
            return Missing(
                at, key, f"{hide_credentials(self._server.url)} did not answer within {self._server.timeout:g} s"
            )
        except Unknown as error:
            return Missing(at, key, hide_credentials(str(error)))
        return Sample(at, key, values[0], values[1] if condition.against_baseline else None)

    async def _query(
        self, condition: Condition, cohorts: Cohorts, side: tuple[CohortMember, ...], template: str, at: float
    ) -> float:
        import httpx  # which this module's importers need only for a guard that asks Prometheus

        query = self._filled(condition, side, template)
        when = at
        if condition.against_baseline:
            when = max(end for _, end in cohorts.window(side, at, condition.interval).values())
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
            template=template_of(template),
            interval=f"{condition.interval * 1000:.0f}ms",
        )

    def _address(self, one: CohortMember) -> str:
        if (instance := self._instances.get(one.name)) is None:
            raise Unknown(f"the address of {one.name} is not known")  # the query would match others
        return str(instance.address)

    def _headers(self) -> dict[str, str]:
        if not self._server.bearer_token_file:
            return {}
        return {"Authorization": f"Bearer {Path(self._server.bearer_token_file).read_text(encoding='utf-8').strip()}"}


def _json(answer: httpx.Response) -> Any:
    """The JSON of a response; Prometheus explains its 4xx and 5xx in JSON, too."""
    try:
        return answer.json()
    except ValueError:
        raise Unknown(f"it answered {answer.status_code} and not in JSON: {answer.text[:_SHOWN]!r}") from None


def one_number(document: Any) -> float:
    """The one finite number of a response. Raises Unknown that names the content instead."""
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
    """A regular expression, for use between double quotes, that matches exactly these names."""
    return "|".join(re.sub(r"[^\w:-]", lambda special: f"[{special[0]}]", name) for name in names)
