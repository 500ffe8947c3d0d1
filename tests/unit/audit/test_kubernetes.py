"""Pods: the hook, the signal and the grace period of each container, and what cannot be judged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Effect, Finding, Outcome
from changeover.audit.rules import all_rules
from changeover.conf.kubernetes import read, recognises
from changeover.conf.place import Unreadable

SERVES = {"name": "web", "image": "registry.example.com/shop:2", "ports": [{"containerPort": 8000}]}


def deployment(*containers: Any, kind: str = "Deployment", **spec: Any) -> str:
    pod = {"containers": containers, **spec}
    holder = {"spec": pod} if kind == "Pod" else {"spec": {"template": {"spec": pod}}}
    return json.dumps({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "shop"}, **holder}, indent=1)


def findings(rule: str, *texts: str) -> list[Finding]:
    only = [one for one in all_rules() if one.id == rule]
    return [one.finding for one in audited({f"{n}.json": text for n, text in enumerate(texts)}, rules=only).judged]


def hook(**given: Any) -> Any:
    return {**SERVES, "lifecycle": {"preStop": given}}


@pytest.mark.parametrize(
    ("container", "grace", "outcome"),
    [
        (SERVES, None, Outcome.VIOLATED),
        (SERVES, 430, Outcome.MET),
        (SERVES, 429, Outcome.VIOLATED),
        (hook(sleep={"seconds": 15}), 440, Outcome.VIOLATED),
        (hook(sleep={"seconds": 15}), 445, Outcome.MET),
        (hook(exec={"command": ["sh", "-c", "sleep 15"]}), 444, Outcome.VIOLATED),
        (hook(exec={"command": ["sh", "-c", "sleep 15"]}), 445, Outcome.MET),
        (hook(exec={"command": ["sh", "-c", "/bin/drain"]}), 900, Outcome.UNKNOWN),
        (hook(httpGet={"path": "/shutdown"}), 900, Outcome.UNKNOWN),
        (SERVES, "$GRACE", Outcome.UNKNOWN),
        ({"name": "worker", "image": "registry.example.com/worker:2"}, 30, Outcome.UNKNOWN),
    ],
)
def test_the_grace_period_holds_the_hook_and_the_longest_request(
    container: Any, grace: object, outcome: Outcome
) -> None:
    spec: Any = {} if grace is None else {"terminationGracePeriodSeconds": grace}
    (found,) = findings("K8S01", deployment(container, **spec))
    assert found.outcome is outcome


def test_a_container_that_serves_nothing_does_not_count_beside_one_that_serves() -> None:
    worker = {"name": "worker", "image": "a", "lifecycle": {"preStop": {"exec": {"command": ["/bin/unknown"]}}}}
    (found,) = findings("K8S01", deployment(SERVES, worker, terminationGracePeriodSeconds=460))
    assert found.outcome is Outcome.MET


def test_the_container_with_the_longest_hook_decides_for_its_pod() -> None:
    (found,) = findings("K8S01", deployment(SERVES, hook(sleep={"seconds": 60}), terminationGracePeriodSeconds=460))
    assert found.outcome is Outcome.VIOLATED
    assert "of which preStop takes 60 s" in found.what


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Pod", "Rollout"])
def test_every_kind_of_workload_is_read(kind: str) -> None:
    (found,) = findings("K8S01", deployment(SERVES, kind=kind))
    assert found.outcome is Outcome.VIOLATED


def test_a_list_as_kubectl_prints_it_is_read() -> None:
    page = {"apiVersion": "v1", "kind": "List", "items": [json.loads(deployment(SERVES)), {"kind": "Service"}]}
    text = json.dumps(page, indent=1)
    assert recognises(text, "a.json")
    assert [pod.workload for pod in read(text, "a.json")[0].pods] == ["Deployment shop"]


@pytest.mark.parametrize(
    ("image", "stop", "outcome"),
    [
        ("nginx:1.27", None, Outcome.MET),
        ("registry.example.com/nginx@sha256:0", None, Outcome.MET),
        ("nginx:1.27", "SIGTERM", Outcome.VIOLATED),
    ],
)
def test_an_official_image_has_its_signal_unless_the_pod_names_another(
    image: str, stop: str | None, outcome: Outcome
) -> None:
    container = {"name": "web", "image": image, **({"lifecycle": {"stopSignal": stop}} if stop else {})}
    (found,) = findings("NGX01", deployment(container, terminationGracePeriodSeconds=600))
    assert found.outcome is outcome
    assert findings("NGX02", deployment(container)) == []  # K8S01


def test_an_envoy_that_drains_in_its_hook_is_met() -> None:
    command = ["sh", "-c", "wget -qO- --post-data='' http://127.0.0.1:9901/healthcheck/fail; sleep 460"]
    envoy = {
        "name": "envoy",
        "image": "envoyproxy/envoy:v1.36.0",
        "lifecycle": {"preStop": {"exec": {"command": command}}},
    }
    text = deployment(envoy, terminationGracePeriodSeconds=500)
    assert [one.outcome for one in findings("ENV01", text)] == [Outcome.MET]
    short = deployment(envoy, terminationGracePeriodSeconds=300)
    assert [one.outcome for one in findings("ENV01", short)] == [Outcome.VIOLATED]


def test_a_wrong_signal_after_a_hook_is_the_first_one() -> None:
    container = {**hook(sleep={"seconds": 15}), "command": ["gunicorn", "shop:app"]}
    container["lifecycle"]["stopSignal"] = "SIGQUIT"
    (found,) = findings("APP03", deployment(container, terminationGracePeriodSeconds=600))
    assert found.outcome is Outcome.VIOLATED
    assert found.get is Effect.CUT


def test_a_shell_that_keeps_the_signal_is_found_in_a_pod() -> None:
    container = {**SERVES, "command": ["sh", "-c", "migrate && gunicorn shop:app"]}
    assert [one.outcome for one in findings("APP05", deployment(container))] == [Outcome.VIOLATED]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 3}\n", "no workload in it has a pod"),
        ("apiVersion: apps/v1\nkind: Deployment\nspec:\n  replicas: {{ .Values.n }}\n", "is a template"),
    ],
)
def test_a_patch_and_a_template_are_refused(text: str, what: str) -> None:
    assert recognises(text, "a.yaml")
    with pytest.raises(Unreadable, match=what):
        read(text, "a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Service\n",
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  scaleTargetRef:\n    kind: Deployment\n",
        "kind: Deployment\n",
    ],
)
def test_what_has_no_pods_is_not_recognised(text: str) -> None:
    assert not recognises(text, "a.yaml")


SERVICE = """\
apiVersion: compute.cnrm.cloud.google.com/v1beta1
kind: ComputeBackendService
metadata: {name: web}
spec: {protocol: HTTP, timeoutSec: 60}
---
"""
POD = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: b, ports: [{containerPort: 80}], args: [%s]}]}\n"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (SERVICE + POD % "x", {"K8S01", "GCP06"}),
        (POD % "--url=https://www.googleapis.com/compute/v1/", {"K8S01"}),
    ],
)
def test_pods_are_read_beside_resources_of_config_connector(text: str, rules: set[str]) -> None:
    found = {one.rule.id for one in audited({"all.yaml": text}).of(Outcome.VIOLATED)}
    assert found & {"K8S01", "GCP06"} == rules
