"""Every metric of `/metrics`: name, kind, labels and help. docs/metrics.md has this table.

A name has a base unit. Labels have few values: names of instances are in none. Refuses values: `figures` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from changeover.engine.figures import LATENCIES

PREFIX = "changeover_"


@dataclass(frozen=True)
class Metric:
    """One metric, without the prefix in its name. `buckets`: upper bounds in seconds, of a histogram."""

    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


_CHAIN = ("chain",)
_TIER = ("chain", "tier")
_TIMES = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "journal_readable": Metric(
            "gauge",
            ("state",),
            "1 if the journal and the chain file of the folder can be read; at 0 its chain has no other metric.",
        ),
        "chain_up": Metric("gauge", _CHAIN, "1 between a completed up and the next down, else 0."),
        "keeper_up": Metric("gauge", _CHAIN, "1 if the keeper of a chain that is up lives, else 0."),
        "controller_up": Metric(
            "gauge", _CHAIN, "While a rollout is unfinished: 1 if a controller works on it, else 0."
        ),
        "certificate_expiry_timestamp_seconds": Metric(
            "gauge", _TIER, "When the first certificate that the tier serves to clients expires."
        ),
        "state_disk_free_bytes": Metric(
            "gauge", _CHAIN, "Free bytes on the disk of the state folder: journal, logs, ledgers, stored uploads."
        ),
        "state_disk_size_bytes": Metric("gauge", _CHAIN, "Size of that disk."),
        "body_disk_free_bytes": Metric(
            "gauge", _TIER, "Free bytes on the disk on which the tier buffers bodies; with several, the fullest."
        ),
        "body_disk_size_bytes": Metric("gauge", _TIER, "Size of that disk."),
        "buffered_body_bytes": Metric("gauge", _TIER, "Bytes of bodies that the tier has buffered on disk."),
        "buffered_body_ratio": Metric(
            "gauge", _TIER, "Highest share of its bound (`disk` of its routes) that an instance has buffered."
        ),
        "instance_cpu_seconds_total": Metric(
            "counter",
            (*_TIER, "version"),
            "CPU that the processes of instances have used, as far as this server saw it.",
        ),
        "instance_resident_bytes": Metric("gauge", (*_TIER, "version"), "Memory that these processes have in use."),
        "instance_open_descriptors": Metric(
            "gauge", (*_TIER, "version"), "Files and connections that these processes have open."
        ),
        "tier_descriptors_ratio": Metric(
            "gauge", _TIER, "Highest share of its limit of open files that a process of the tier has in use."
        ),
        "tier_info": Metric(
            "gauge", (*_TIER, "kind", "version", "status"), "1; the status is that of the command status."
        ),
        "tier_size_instances": Metric("gauge", _TIER, "Instances that the tier is to have in service."),
        "tier_floor_instances": Metric("gauge", _TIER, "Size less max_unavailable: fewer must never serve."),
        "tier_serving_instances": Metric("gauge", _TIER, "Instances in service, as the journal knows."),
        "instances": Metric("gauge", (*_TIER, "version", "phase"), "Instances by template and phase."),
        "phase_oldest_seconds": Metric(
            "gauge", (*_TIER, "phase"), "How long the longest has been in a phase that is to pass."
        ),
        "router_unconfirmed_instances": Metric(
            "gauge",
            (*_TIER, "change"),
            "Instances whose admission or removal not every router has confirmed yet.",
        ),
        "tier_consecutive_failures": Metric(
            "gauge", _TIER, "Failed starts and early deaths of the present template, less admissions since."
        ),
        "requests_in_flight": Metric(
            "gauge",
            (*_TIER, "version"),
            "Requests in flight on the instances that a controller counts: those that leave or drain.",
        ),
        "uploads_in_flight": Metric("gauge", (*_TIER, "version"), "Uploads among them that report their bytes."),
        "upload_left_bytes": Metric("gauge", (*_TIER, "version"), "Bytes that these uploads still have to send."),
        "draining_instances": Metric("gauge", _TIER, "Instances that drain."),
        "drain_remaining_seconds": Metric(
            "gauge", _TIER, "Time to the first deadline of a running drain; negative after it."
        ),
        "overdue_drains": Metric(
            "gauge", _TIER, "Running drains past their deadline, which wait for what is in flight."
        ),
        "canary_target_ratio": Metric("gauge", _TIER, "Share of the traffic that the canary is to get."),
        "canary_actual_ratio": Metric("gauge", _TIER, "Share that the weights seen at the routers give it."),
        "guard_value": Metric(
            "gauge",
            (*_TIER, "condition"),
            "Last sample of a guard's condition, in the condition's unit; none while samples are missing.",
        ),
        "guard_threshold": Metric(
            "gauge",
            (*_TIER, "condition"),
            "Value that the condition allows at most, by the chain file where no controller works.",
        ),
        "rollout_info": Metric(
            "gauge",
            (*_TIER, "rollout", "strategy", "from", "to", "phase"),
            "1 for the last rollout of each tier; the phase is the tier's status, or the outcome.",
        ),
        "rollout_started_timestamp_seconds": Metric("gauge", _TIER, "When the unfinished rollout began."),
        "rollout_progress_timestamp_seconds": Metric(
            "gauge", _TIER, "When an instance of the unfinished rollout last changed its phase, or a step began."
        ),
        "rollout_ended_timestamp_seconds": Metric("gauge", (*_TIER, "outcome"), "When the last rollout ended."),
        "rollout_step": Metric("gauge", _TIER, "Number of the present canary step, from 1."),
        "rollout_steps": Metric("gauge", _TIER, "Canary steps of the unfinished rollout."),
        "step_remaining_seconds": Metric("gauge", _TIER, "Time until the present step or bake ends by itself."),
        "rollout_duration_seconds": Metric(
            "histogram", (*_TIER, "outcome"), "Durations of ended rollouts.", tuple(map(float, _TIMES))
        ),
        "drain_duration_seconds": Metric(
            "histogram",
            (*_TIER, "end"),
            "Durations of ended drains. End: emptied, deadline, long_lived, operator, readmitted or died.",
            tuple(map(float, _TIMES)),
        ),
        "time_to_ready_seconds": Metric(
            "histogram",
            _TIER,
            "From the order to create an instance to its first readiness.",
            tuple(map(float, _TIMES)),
        ),
        "instance_admissions_total": Metric("counter", _TIER, "Admissions that every router confirmed."),
        "instance_failures_total": Metric("counter", _TIER, "Instances that died or did not start."),
        "instance_replacements_total": Metric(
            "counter", _TIER, "Instances that were created in place of one that died or did not start."
        ),
        "interruptions_total": Metric(
            "counter", _TIER, "Moments in rollouts at which requests were broken, or may have been."
        ),
        "probe_requests_total": Metric(
            "counter", ("chain", "kind", "outcome"), "Requests of probes. Outcome: ok, lost, corrupted or duplicated."
        ),
        "probe_latency_seconds": Metric(
            "histogram", ("chain", "kind"), "Latencies of probe requests, from when each was due.", LATENCIES
        ),
        "probe_version_requests_total": Metric(
            "counter",
            ("chain", "version", "outcome"),
            "GETs and uploads of probes by the version that the response names; `unknown` where it names none, `other` "
            "beyond 20 versions.",
        ),
        "probe_version_latency_seconds": Metric(
            "histogram", ("chain", "version"), "Latencies of GETs of probes by that version.", LATENCIES
        ),
    }
)
