"""Reads Kubernetes manifests: the pods of Deployments and their like, with the place of every key.

Refuses to render Helm and to merge overlays of Kustomize: `helm template` and `kubectl kustomize` print whole ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, parse

_KINDS = "Deployment|StatefulSet|DaemonSet|ReplicaSet|ReplicationController|Rollout|Pod"
_SIGN = re.compile(rf"^kind:[ \t]*[\"']?(?:{_KINDS})\b|\"kind\"[ \t]*:[ \t]*\"(?:{_KINDS})\"", re.MULTILINE)
_LIST = re.compile(r"^kind:[ \t]*[\"']?List\b", re.MULTILINE)
_VERSION = re.compile(r"^apiVersion:|\"apiVersion\"[ \t]*:", re.MULTILINE)
_WORKLOADS = set(_KINDS.split("|"))


@dataclass(frozen=True)
class Pod:
    """`spec` is that of the pod; `workload` what makes it: `Deployment shop`."""

    workload: str
    spec: Map
    place: Place


@dataclass(frozen=True)
class KubernetesFile(Document):
    pods: tuple[Pod, ...]


def recognises(text: str, file: str) -> bool:
    if _VERSION.search(text) is None:
        return False
    return _SIGN.search(text) is not None or (_LIST.search(text) is not None and "containers:" in text)


def read(text: str, file: str) -> tuple[KubernetesFile, ...]:
    """Raises Unreadable."""
    pods = tuple(pod for root in parse(text, file) for pod in _pods(root, 0))
    if not pods:
        raise Unreadable("no workload in it has a pod with containers", Place(file))
    return (KubernetesFile(file, pods),)


def _pods(root: Node, depth: int) -> Iterator[Pod]:
    if not isinstance(root, Map) or depth > 1:
        return
    kind = root.text("kind") or ""
    if kind == "List":
        listed = root.get("items")
        for one in listed.values if isinstance(listed, Items) else ():
            yield from _pods(one, depth + 1)
    elif kind in _WORKLOADS:
        holder = root if kind == "Pod" else root.get("spec", "template")
        spec = holder.get("spec") if holder is not None else None
        if isinstance(holder, Map) and isinstance(spec, Map) and spec.get("containers") is not None:
            name = root.text("metadata", "name") or root.text("metadata", "generateName") or ""
            yield Pod(f"{kind} {name}".strip(), spec, holder.keys["spec"])
