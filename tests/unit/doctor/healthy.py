"""A tier of which every precondition holds, as the Compute API answers it; tests break one thing of it each."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from changeover.doctor.facts import AgentAnswer, TierFacts, UploadLoad

Json = dict[str, Any]
ROOT = "https://www.googleapis.com/compute/v1/projects/shop"
REGION = "regions/europe-west1"
NOW = 1_800_000_000.0
TEMPLATE_1, TEMPLATE_2 = "global/instanceTemplates/edge-1", "global/instanceTemplates/edge-2"
READY, ALIVE = "global/healthChecks/edge-ready", "global/healthChecks/edge-alive"

GROUP: Json = {
    "kind": "compute#instanceGroupManager",
    "name": "edge-mig",
    "instanceGroup": f"{ROOT}/{REGION}/instanceGroups/edge-mig",
    "targetSize": 3,
    "versions": [{"name": "v1", "instanceTemplate": f"{ROOT}/{TEMPLATE_1}"}],
    "updatePolicy": {
        "type": "OPPORTUNISTIC",
        "minimalAction": "REPLACE",
        "replacementMethod": "SUBSTITUTE",
        "maxSurge": {"fixed": 3, "calculated": 3},
        "maxUnavailable": {"fixed": 0, "calculated": 0},
        "instanceRedistributionType": "NONE",
    },
    "autoHealingPolicies": [{"healthCheck": f"{ROOT}/{ALIVE}", "initialDelaySec": 300}],
    "distributionPolicy": {"zones": [{"zone": f"{ROOT}/zones/europe-west1-{zone}"} for zone in "bcd"]},
    "status": {"isStable": True, "versionTarget": {"isReached": True}},
}
VM: Json = {
    "instance": f"{ROOT}/zones/europe-west1-b/instances/edge-1a2b",
    "instanceStatus": "RUNNING",
    "currentAction": "NONE",
    "version": {"name": "v1", "instanceTemplate": f"{ROOT}/{TEMPLATE_1}"},
}
SERVICE: Json = {
    "kind": "compute#backendService",
    "name": "edge-bs",
    "protocol": "HTTP",
    "timeoutSec": 600,
    "connectionDraining": {"drainingTimeoutSec": 600},
    "healthChecks": [f"{ROOT}/{READY}"],
    "backends": [{"group": f"{ROOT}/{REGION}/instanceGroups/edge-mig", "capacityScaler": 1.0}],
}
CHECK: Json = {
    "kind": "compute#healthCheck",
    "type": "HTTP",
    "checkIntervalSec": 5,
    "timeoutSec": 5,
    "healthyThreshold": 2,
    "unhealthyThreshold": 2,
    "httpHealthCheck": {"port": 9180, "requestPath": "/readyz"},
}
TEMPLATE: Json = {
    "kind": "compute#instanceTemplate",
    "properties": {
        "machineType": "e2-small",
        "scheduling": {"onHostMaintenance": "MIGRATE", "provisioningModel": "STANDARD", "preemptible": False},
    },
}
AUTOSCALER: Json = {"kind": "compute#autoscaler", "name": "edge-as", "autoscalingPolicy": {"mode": "OFF"}}
STATUS: Json = {
    "format": 1,
    "name": "edge-1a2b",
    "kind": "nginx",
    "ready": True,
    "lame_duck": False,
    "reason": None,
    "unknown": None,
    "metadata": "watched",
    "time": NOW,
}


def facts(**given: Any) -> TierFacts:
    """The healthy tier, with some of its facts replaced."""
    plain: Json = {
        "tier": "edge",
        "kind": "nginx",
        "place": "--region=europe-west1",
        "group_name": "edge-mig",
        "group": deepcopy(GROUP),
        "autoscaler": deepcopy(AUTOSCALER),
        "vms": [deepcopy(VM)],
        "services": {"edge-bs": deepcopy(SERVICE)},
        "checks": {
            READY: deepcopy(CHECK),
            ALIVE: {**deepcopy(CHECK), "httpHealthCheck": {"port": 9180, "requestPath": "/livez"}},
        },
        "paths": {"v1": TEMPLATE_1, "v2": TEMPLATE_2},
        "templates": {TEMPLATE_1: deepcopy(TEMPLATE), TEMPLATE_2: deepcopy(TEMPLATE)},
        "agents": {"edge-1a2b": AgentAnswer(dict(STATUS), NOW)},
        "agent_port": 9180,
        "agent_tls": False,
        "load": UploadLoad(),
    }
    return TierFacts(**{**plain, **given})


def changed(resource: Json, path: str, value: Any) -> Json:
    """A copy of the resource with one field set, or without it where the value is None."""
    found = deepcopy(resource)
    *way, last = path.split(".")
    at = found
    for key in way:
        at = at.setdefault(key, {})
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return found
