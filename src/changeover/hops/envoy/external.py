"""An Envoy that stands outside of the chain, as the router of a tier: `router:` in a chain file.

It watches a file of endpoints, as the Envoys of a chain do. The controller's own list is in the state folder, and every
such file is a copy of it. Refuses files with endpoints that are not of this chain.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from changeover.hops.envoy.admin import ask_admin
from changeover.hops.envoy.external_settings import ExternalEnvoy
from changeover.hops.envoy.router import EnvoyRouter, kept
from changeover.hops.envoy.stats import request_counts
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import NoResponse
from changeover.model.affinity import AffinityRule
from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance
from changeover.ports import Broken, Restored, Unknown

_HASHES = ("RING_HASH", "MAGLEV")


class ExternalEnvoyRouter(EnvoyRouter):
    """Membership of one cluster over all nodes."""

    def __init__(self, client: DirectClient, tier: Tier, settings: ExternalEnvoy, membership: str) -> None:
        self._tier = tier
        nodes = tuple(_node(tier.name, text) for text in settings.admin)
        super().__init__(
            client,
            settings.cluster or tier.name,
            membership,
            lambda: nodes,
            service=settings.service,
            copies=tuple(map(Path, settings.endpoints)),
        )
        self._reported: set[Path] = set()
        """Files that were reported, because they have endpoints of others."""

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """Write every file, with no more than those members. Raises Unknown, with why a node cannot route the tier."""
        if found := await self.faults():
            raise Unknown("; ".join(found))
        self._write(kept(self._members() if self._file.exists() else {}, keep))

    async def faults(self) -> Sequence[str]:
        """Why a node cannot route the tier, each in words. Changes nothing."""
        ours = set(self._members()) if self._file.exists() else set()
        found = [fault for copy in self._copies for fault in _file_faults(copy, ours.__contains__)]
        nodes = self._nodes()
        answers = await asyncio.gather(*map(self._configuration, nodes))
        for node, answer in zip(nodes, answers, strict=True):
            faults = [answer] if isinstance(answer, str) else cluster_faults(answer, self._cluster, self._tier)
            found += [f"{node.name}: {fault}" for fault in faults]
        return found

    async def lost(self) -> bool:
        return any(self._differences())

    async def restore(self) -> Sequence[Restored]:
        """Write each file again that another process changed. One with endpoints of others is reported, once."""
        done = []
        for found, change in list(self._differences()):
            change()
            done.append(found)
        return done

    @property
    def silent(self) -> Sequence[str]:
        return ()  # no node is asked

    def _differences(self) -> Iterator[tuple[Restored, Callable[[], None]]]:
        """What the files have otherwise than the list, and what corrects it. Raises Unknown."""
        ours = re.compile(rf"{re.escape(self._tier.name)}-({'|'.join(map(re.escape, self._tier.templates))})-\d+")
        try:
            wanted = self._file.read_text(encoding="utf-8")
            for copy in self._copies:
                if copy.exists() and copy.read_text(encoding="utf-8") == wanted:
                    self._reported.discard(copy)
                elif not (faults := list(_file_faults(copy, ours.fullmatch))):
                    text = f"{copy} was changed by another process; it has the members again"
                    yield Restored(text, broke=True), partial(self._put, copy, wanted)
                elif copy not in self._reported:
                    yield Restored(faults[0], broke=True), partial(self._reported.add, copy)
        except OSError as error:
            raise Unknown(str(error)) from error

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        # A retry policy of the user's own may repeat answers, too: less those, a broken request would not be counted.
        raise Unknown("the retries of an Envoy outside of the chain hide how many requests broke")

    async def traffic(self) -> Mapping[str, int]:
        """Finished requests, over all nodes."""
        found: Counter[str] = Counter()
        for instances in (await request_counts(self._client, self._cluster, self._nodes)).values():
            found.update({name: count.ended for name, count in instances.items()})
        return found

    async def _configuration(self, node: Instance) -> Any:
        """What it was configured with, or why that is not known."""
        try:
            answer = await ask_admin(self._client, "GET", node, "/config_dump")
            if answer.status_code != 200:
                return f"/config_dump answered {answer.status_code}"
            return answer.json()
        except (NoResponse, ValueError) as error:
            return str(error)


def _node(tier: str, text: str) -> Instance:
    """A node as the questions of this hop know one."""
    at = Address(text, 0) if text.startswith("/") else Address.parse(text)
    return Instance(text, tier, "", at, at)


def _file_faults(file: Path, is_ours: Callable[[str], object]) -> Iterator[str]:
    if file.is_symlink():
        yield f"{file} is a symbolic link, and would be replaced by a file: name the file itself"
    elif not os.access(file.parent, os.W_OK | os.X_OK):
        yield f"no file can be renamed to {file}: its folder is not there, or cannot be written"
    elif file.exists():
        import yaml  # here: a command that needs only the traits of the hops imports no YAML

        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            hosts = [
                host["endpoint"].get("hostname") or json.dumps(host["endpoint"].get("address"))
                for resource in document.get("resources") or ()
                for group in resource.get("endpoints") or ()
                for host in group.get("lb_endpoints") or ()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            yield f"{file} is not a list of endpoints that can be read: {error}"
            return
        if foreign := [host for host in hosts if not is_ours(host)]:
            yield (
                f"{file} has {len(foreign)} endpoints that are not of this chain, such as {foreign[0]}, and would lose "
                "them: give the tier a cluster with a file of its own, or empty the file"
            )


def cluster_faults(dump: Any, cluster: str, tier: Tier) -> Iterator[str]:
    """What `/config_dump` shows of the cluster that no rollout could live with."""
    try:
        found = next((one for one in _clusters(dump) if one.get("name") == cluster), None)
        if found is None:
            yield f"it has no cluster {cluster}"
            return
        if "path_config_source" not in found.get("eds_cluster_config", {}).get("eds_config", {}):
            yield f"its cluster {cluster} reads no file of endpoints: `eds_config` needs a `path_config_source`"
        common = found.get("common_lb_config", {})
        if found.get("health_checks") and not found.get("ignore_health_on_host_removal"):
            yield (
                f"its cluster {cluster} goes on sending to a removed endpoint until its health check fails: set "
                "`ignore_health_on_host_removal: true`"
            )
        if common.get("update_merge_window") != "0s":
            yield (
                f"the workers of cluster {cluster} learn of weights and health up to a second after `/clusters` shows "
                "them: set `update_merge_window: 0s` in its `common_lb_config`"
            )
        threshold = common.get("healthy_panic_threshold", {"value": 50}).get("value", 0)
        if "panic" in tier.health.model_fields_set and threshold != tier.health.panic:
            yield (
                f"its cluster {cluster} has the `healthy_panic_threshold` {threshold:g}, and `health.panic` of "
                f"{tier.name} is {tier.health.panic:g}%"
            )
        yield from _affinity_faults(dump, found, tier.affinity)
    except (AttributeError, TypeError, KeyError) as error:
        yield f"/config_dump did not answer as it should: {error!r}"


def _clusters(dump: Any) -> Iterator[Any]:
    for part in dump["configs"]:
        for kind in ("static_clusters", "dynamic_active_clusters"):
            for one in part.get(kind, ()):
                yield one["cluster"]


def _affinity_faults(dump: Any, cluster: Any, affinity: AffinityRule) -> Iterator[str]:
    policy = cluster.get("lb_policy", "ROUND_ROBIN")
    if affinity.by in ("header", "client-ip") and policy not in _HASHES:
        yield f"its cluster {cluster['name']} has lb_policy {policy}, and affinity {affinity} needs MAGLEV or RING_HASH"
    if affinity.by == "cookie" and not any(cookie.get("name") == affinity.name for cookie in _cookies(dump)):
        yield f"none of its routes keeps sessions by a cookie {affinity.name} (`stateful_session`), the tier's affinity"


def _cookies(part: Any) -> Iterator[Mapping[str, Any]]:
    """Every cookie of a stateful session, wherever it is in the configuration."""
    if isinstance(part, Mapping):
        if "CookieBasedSessionState" in str(part.get("@type")) and isinstance(cookie := part.get("cookie"), Mapping):
            yield cookie
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _cookies(one)
