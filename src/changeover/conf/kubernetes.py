"""Reads Kubernetes manifests: the pods of Deployments and their like, with the place of every key; and ConfigMaps.

Refuses to render Helm and to merge overlays of Kustomize: `helm template` and `kubectl kustomize` print whole ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, Word, parse

_KINDS = "Deployment|StatefulSet|DaemonSet|ReplicaSet|ReplicationController|Rollout|Pod"
_NAMED = f"(?:{_KINDS}|ConfigMap)"
_SIGN = re.compile(rf"^kind:[ \t]*[\"']?{_NAMED}\b|\"kind\"[ \t]*:[ \t]*\"{_NAMED}\"", re.MULTILINE)
_LIST = re.compile(r"^kind:[ \t]*[\"']?List\b", re.MULTILINE)
_VERSION = re.compile(r"^apiVersion:|\"apiVersion\"[ \t]*:", re.MULTILINE)
_MOST = 500
"""Files in the ConfigMaps of one manifest: each is compared with the others for its includes."""
_WORKLOADS = set(_KINDS.split("|"))


@dataclass(frozen=True)
class Pod:
    """`spec` is that of the pod; `workload` what makes it: `Deployment shop`."""

    workload: str
    spec: Map
    place: Place

    @property
    def sidecars(self) -> tuple[Map, ...]:
        """Init containers that go on to run beside the containers."""
        return tuple(one for one in self.spec.maps("initContainers") if one.text("restartPolicy") == "Always")


@dataclass(frozen=True)
class Held:
    """A file in a ConfigMap. `text` has empty lines before it, so that its lines are those of the manifest.

    `lined`: it stands there line by line, not in quotes.
    """

    holder: str
    key: str
    text: str
    place: Place
    lined: bool

    @property
    def path(self) -> str:
        """Where it stands for the includes of its ConfigMap."""
        return f"{self.holder}/{self.key}"


@dataclass(frozen=True)
class KubernetesFile(Document):
    pods: tuple[Pod, ...]
    held: tuple[Held, ...] = ()


def recognises(text: str, file: str) -> bool:
    if _VERSION.search(text) is None:
        return False
    return _SIGN.search(text) is not None or (
        _LIST.search(text) is not None and ("containers:" in text or "ConfigMap" in text)
    )


def read(text: str, file: str) -> tuple[KubernetesFile, ...]:
    """Raises Unreadable."""
    resources = [one for root in parse(text, file) for one in _resources(root, 0)]
    pods = tuple(pod for one in resources for pod in _pods(one))
    held = tuple(part for one in resources for part in _held(one, file))
    if len(held) > _MOST:
        raise Unreadable(f"its ConfigMaps hold more than {_MOST} files", held[_MOST].place)
    if not pods and not held:
        raise Unreadable("no workload in it has a pod with containers", Place(file))
    return (KubernetesFile(file, pods, held),)


def _resources(root: Node, depth: int) -> Iterator[Map]:
    if not isinstance(root, Map) or depth > 1:
        return
    listed = root.get("items") if root.text("kind") == "List" else None
    if isinstance(listed, Items):
        for one in listed.values:
            yield from _resources(one, depth + 1)
    else:
        yield root


def _held(root: Map, file: str) -> Iterator[Held]:
    data = root.get("data")
    if root.text("kind") != "ConfigMap" or not isinstance(data, Map):
        return
    name = root.text("metadata", "name") or ""
    for key, value in data.items.items():
        if isinstance(value, Word) and "\n" in value.word:
            before = "\n" * value.place.line if value.block else ""
            yield Held(f"{file}#{name}", key, before + value.word, value.place, value.block)


def _pods(root: Map) -> Iterator[Pod]:
    kind = root.text("kind") or ""
    if kind in _WORKLOADS:
        holder = root if kind == "Pod" else root.get("spec", "template")
        spec = holder.get("spec") if holder is not None else None
        if isinstance(holder, Map) and isinstance(spec, Map) and spec.get("containers") is not None:
            name = root.text("metadata", "name") or root.text("metadata", "generateName") or ""
            yield Pod(f"{kind} {name}".strip(), spec, holder.keys["spec"])
