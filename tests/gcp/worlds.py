"""Worlds of the tests: one group of small VMs behind one backend service, zonal or regional."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.gcp.fakes import Json

ZONE, REGION = "europe-west1-b", "europe-west1"
ZONES = [ZONE, "europe-west1-c", "europe-west1-d"]
PORT = 8080
SPEED = 50
APP = Path(__file__).with_name("vm_app.py")


def template(name: str, script: str = "") -> Json:
    script = script or f"exec {sys.executable} -I -S {APP} {PORT}"
    return {
        "name": name,
        "properties": {"machineType": "e2-small", "metadata": {"items": [{"key": "startup-script", "value": script}]}},
    }


def world(*, size: int = 2, drain: int = 0, regional: bool = False, speed: float = SPEED, **group: object) -> Json:
    """`group`: more fields of the group. Its templates are web-v1, which it runs, and web-v2."""
    scope = f"regions/{REGION}" if regional else f"zones/{ZONE}"
    return {
        "project": "shop",
        "regions": {REGION: ZONES},
        "speed": speed,
        "resources": {
            "global/instanceTemplates": [template("web-v1"), template("web-v2")],
            "global/healthChecks": [
                {"name": "live", "type": "TCP", "tcpHealthCheck": {"port": PORT}},
                {"name": "ready", "type": "HTTP", "httpHealthCheck": {"port": PORT, "requestPath": "/"}},
            ],
            f"{scope}/instanceGroupManagers": [
                {
                    "name": "web",
                    "targetSize": size,
                    "versions": [{"name": "v1", "instanceTemplate": "global/instanceTemplates/web-v1"}],
                    "namedPorts": [{"name": "http", "port": PORT}],
                    "autoHealingPolicies": [{"healthCheck": "global/healthChecks/live", "initialDelaySec": 300}],
                    **group,
                }
            ],
            "global/backendServices": [
                {
                    "name": "web",
                    "protocol": "HTTP",
                    "loadBalancingScheme": "EXTERNAL_MANAGED",
                    "portName": "http",
                    "healthChecks": ["global/healthChecks/ready"],
                    "connectionDraining": {"drainingTimeoutSec": drain},
                    "backends": [
                        {"group": f"https://www.googleapis.com/compute/v1/projects/shop/{scope}/instanceGroups/web"}
                    ],
                }
            ],
            "global/forwardingRules": [
                {
                    "name": "web",
                    "IPAddress": "@network@.1.1",
                    "portRange": str(PORT),
                    "backendService": "global/backendServices/web",
                }
            ],
        },
    }
