"""K8S: pods, whose stop the lab performs as a kubelet does: preStop, SIGTERM, SIGKILL."""

from __future__ import annotations

from typing import Final

from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server


def _pod(grace: str) -> dict[str, str]:
    return {
        "deployment.yaml": f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  template:
    spec:
{grace}      containers:
      - name: shop
        image: registry.example.com/shop:2
        command: [uvicorn, "app:app"]
        lifecycle:
          preStop: {{exec: {{command: [sleep, "15"]}}}}
"""
    }


SHOWN: Final = (
    Demonstration(
        "K8S01",
        "uvicorn gets the signals of its pod, at their times, while an upload and a download are in flight",
        (Server(Kind.APP, "deployment.yaml"),),
        Happening.STOP,
        traffic.in_flight,
        scale=60,
        bad_files=_pod(""),
        good_files=_pod("      terminationGracePeriodSeconds: 475\n"),
    ),
)
