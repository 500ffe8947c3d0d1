"""How containers of pods are stopped.

The kubelet runs the preStop hook and waits for it, sends the image's STOPSIGNAL, and sends SIGKILL
terminationGracePeriodSeconds after the begin, 30 unless set
(kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination). A sidecar, which is an init container that
restarts always, gets its signal once the others have ended (…/workloads/pods/sidecar-containers).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from changeover.audit.commands import commands
from changeover.audit.images import bare_signal, official, serves_no_http
from changeover.audit.starts import Start
from changeover.audit.stop_commands import Stopping, stopping
from changeover.audit.stop_keys import KUBERNETES
from changeover.audit.view import Signal, StopPath
from changeover.conf.document import Document
from changeover.conf.kubernetes import KubernetesFile, Pod
from changeover.conf.place import Place
from changeover.conf.tree import Items, Map, Word

GRACE = 30.0
"""Seconds."""
_PROBES = ("ports", "readinessProbe", "livenessProbe", "startupProbe")
_DRAINS = ("/healthcheck/fail", "/drain_listeners")


def stops(documents: Sequence[Document]) -> Iterator[StopPath]:
    """A stop path for each container that serves, and one for a pod of which that is not known."""
    started = {one.place: one.start for one in commands(documents) if one.manager == "Kubernetes"}
    for document in documents:
        for pod in document.pods if isinstance(document, KubernetesFile) else ():
            found = list(_containers(pod, started))
            yield from found
            images = [one.text("image") or "" for one in pod.spec.maps("containers")]
            if not found and not all(map(serves_no_http, images)):
                missing = "a port or a probe of a container; without one it may serve nothing"
                yield StopPath("", pod.workload, pod.place, (), KUBERNETES, missing=missing, pod=True)


def _containers(pod: Pod, started: dict[Place, Start]) -> Iterator[StopPath]:
    containers = [(one, False) for one in pod.spec.maps("containers")] + [(one, True) for one in pod.sidecars]
    for container, sidecar in containers:
        known = official(container.text("image") or "")
        command = container.keys.get("command") or container.keys.get("args")
        start = started.get(command) if command is not None else None
        software = (start.software if start else None) or (known[0] if known else None)
        if software is None and serves_no_http(container.text("image") or ""):
            continue
        if software is None and not any(container.get(key) is not None for key in _PROBES):
            continue
        name = f"container {container.text('name') or ''} of {pod.workload}"
        place = container.keys.get("name", container.place)
        given = container.text("lifecycle", "stopSignal")
        if given is not None:
            signal: str | None = bare_signal(given)
            text = f"stopSignal: {given}"
        else:
            signal = known[1] if known and known[0] == software else "TERM"
            text = f"the image sets no other signal, so it is SIG{signal}"
        if signal is None:
            missing = "the STOPSIGNAL of its image, which is not that of the software's makers"
            yield StopPath(software or "", name, place, (), KUBERNETES, missing=missing)
            software, signal = "", "TERM"  # K8S01 is about any signal
        before = _pre_stop(container)
        grace = _grace(pod)
        if sidecar or before is None or grace is None:
            if sidecar:
                missing = "when the other containers have ended: only then a sidecar gets its signal"
            elif before is None:
                missing = "how long its preStop hook takes"
            else:
                missing = "terminationGracePeriodSeconds, a number"
            bounded = before is None and grace is not None and not sidecar
            if bounded and grace is not None:
                # Whatever the hook takes, a request has no more than the whole time: K8S01 may know enough.
                at_most = (Signal(0.0, signal, place, text), grace)
                yield StopPath("", name, place, at_most, KUBERNETES, missing=missing, pod=True)
            if software or not bounded:
                yield StopPath(software or "", name, place, (), KUBERNETES, missing=missing, pod=not bounded)
            continue
        signals = [
            *before[0],
            Signal(min(before[1], grace.at), signal, place, text, start is not None and start.whole),
            grace,
        ]
        yield StopPath(software or "", name, place, tuple(signals), KUBERNETES, pod=True)


def _grace(pod: Pod) -> Signal | None:
    if pod.spec.get("terminationGracePeriodSeconds") is None:
        text = "terminationGracePeriodSeconds is not set, so it is 30"
        return Signal(GRACE, "KILL", pod.place, text)
    value = pod.spec.number("terminationGracePeriodSeconds")
    if value is None:
        return None
    place = pod.spec.keys["terminationGracePeriodSeconds"]
    return Signal(value, "KILL", place, f"terminationGracePeriodSeconds: {value:g}")


def _pre_stop(container: Map) -> Stopping | None:
    """What the hook sends, and the seconds that it takes; None if that cannot be judged."""
    hook = container.get("lifecycle", "preStop")
    if not isinstance(hook, Map):
        return [], 0.0
    if (wait := hook.number("sleep", "seconds")) is not None:
        return [], wait
    place = container.place
    if (path := hook.text("httpGet", "path")) is not None:
        text = f"preStop: httpGet {path}"
        return ([Signal(0.0, "DRAIN", place, text)], 0.0) if path.startswith(_DRAINS) else None
    command = hook.get("exec", "command")
    if not isinstance(command, Items) or not all(isinstance(one, Word) for one in command.values):
        return None
    words = [one.word for one in command.values if isinstance(one, Word)]
    return stopping(shlex.join(words), command.place, f"preStop: {shlex.join(words)}"[:100])
