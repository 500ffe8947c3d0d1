"""K8S01: a pod is killed before its requests have ended."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Outcome, Severity, unknown
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import StopPath, View
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    shortest: dict[Place, StopPath] = {}
    for stop in view.stops:
        if not stop.pod:
            continue
        if not stop.signals:
            what = "how long a request has until SIGKILL is not known"
            yield unknown(stop.place, stop.object, what, stop.missing)
            continue
        kill = stop.signals[-1]
        other = shortest.get(kill.place)
        if other is None or stop.wait(kill) < other.wait(other.signals[-1]):
            shortest[kill.place] = stop
    for stop in shortest.values():
        found = _judged(stop, view, asked)
        enough = found.outcome is Outcome.VIOLATED or not stop.missing
        yield found if enough else unknown(stop.place, stop.object, found.what, stop.missing)


def _judged(stop: StopPath, view: View, asked: Assumptions) -> Finding:
    kill = stop.signals[-1]
    left, before = stop.wait(kill), stop.signals[0].at
    hops = [hop for hop in view.hops if hop.software == stop.software]
    need = max((occupied(view, hop, asked) for hop in hops), default=asked.request_seconds)
    hook = f", of which preStop takes {words.span(before)}" if before else ""
    return upload_fits(
        Setting(left, kill.place, f"{kill.text}{hook}"),
        need,
        stop.object,
        asked,
        consequence=f"a GET survives; a POST in flight is cut {words.span(left)} after the pod gets its signal"
        if left >= asked.app_time
        else f"a GET that takes longer than {words.span(left)} and a POST in flight are cut by SIGKILL",
        fix=f"terminationGracePeriodSeconds: {before + need + 30:.0f}",
        replacement=Setting(kill.at, kill.place, kill.text).replaced_by(before + need + 30),
    )


_HEAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
"""
_TAIL = """\
      containers:
      - name: shop
        image: registry.example.com/shop:2
        ports: [{containerPort: 8000}]
        lifecycle:
          preStop: {exec: {command: [sleep, "15"]}}
"""
RULE = Rule(
    id="K8S01",
    name="pod-grace-period",
    severity=Severity.ERROR,
    what="`terminationGracePeriodSeconds` is shorter than the preStop hook and the longest upload.",
    why="A pod that is deleted gets SIGKILL after `terminationGracePeriodSeconds`, 30 unless set. The time of the "
    "preStop hook counts. What is still in flight then is cut, whatever the server in it allows.",
    sources=(
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
        "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/",
    ),
    bad={"deployment.yaml": f"{_HEAD}    # expect: K8S01\n    spec:\n{_TAIL}"},
    good={"deployment.yaml": f"{_HEAD}    spec:\n      terminationGracePeriodSeconds: 475\n{_TAIL}"},
    fix="Set `terminationGracePeriodSeconds` above the time of the preStop hook and the longest request.",
    check=check,
)
