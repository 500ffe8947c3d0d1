"""Every command: where its function is, and the line that `changeover --help` shows for it.

A new command is one file in commands/ and one line here. The line stands here, not in the command's file, so that
`changeover --help` imports no command. A test compares it with the first sentence of the command's own help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Entry:
    """One command. `module` is a name in changeover.cli.commands; `summary` its line in `changeover --help`."""

    module: str
    summary: str
    hidden: bool = False


COMMANDS: Mapping[str, Entry] = MappingProxyType(
    {
        "init": Entry("init", "Write a chain file for an application of your own, with comments."),
        "validate": Entry(
            "validate", "Check a chain file without starting anything: keys, rules, files it names, software, ports."
        ),
        "up": Entry("up", "Start every tier from its first template and wait until all instances serve."),
        "status": Entry(
            "status", "Show every tier, template and instance: phase, requests in flight, drain time left."
        ),
        "plan": Entry("plan", "Show what a roll would do: each step, the time it takes, the uploads it would cut."),
        "roll": Entry("roll", "Roll a tier, or several as one release, to another template."),
        "wait": Entry("wait", "Wait until the rollout in progress has ended, and print its outcome."),
        "pause": Entry("control", "Pause a rollout: running drains finish, nothing new begins."),
        "resume": Entry("resume", "Resume a paused rollout, or one whose controller has ended."),
        "promote": Entry("control", "Skip the current step and continue."),
        "abort": Entry("control", "Undo the rollout in progress: re-admit the old instances, drain the new ones."),
        "undo": Entry("control", "Undo the rollout in progress, or the tier's last completed one."),
        "retry": Entry("control", "Roll again to the template whose rollout was undone."),
        "drain": Entry("drain", "End the drain of an instance now: what is in flight on it is cut and named."),
        "history": Entry("history", "List all rollouts: tier, templates, start, duration, outcome."),
        "show": Entry("history", "Show the log of one rollout: observations, decisions and phases, with their times."),
        "logs": Entry(
            "logs", "Print the logs of instances, load balancer, keeper and controller in one order of time."
        ),
        "probe": Entry("probe", "Send requests without retries, and count broken ones."),
        "verify": Entry("verify", "Check a report against the ledgers and the journal that it was made from."),
        "down": Entry("down", "Stop every instance, edge first, and the load balancer."),
        "demo": Entry("demo", "Start a chain, send traffic, roll every tier, print the verdict, stop the chain."),
        "simulate": Entry("simulate", "Simulate a rollout in virtual time: duration, instances, uploads that it cuts."),
        "schema": Entry("schema", "Print the JSON Schema of a chain file."),
        "render": Entry(
            "render", "Print a configuration: Kong's, files of tiers, systemd units, or Terraform for Google Cloud."
        ),
        "doctor": Entry(
            "doctor", "Find what would break requests in a roll on Google Cloud, with the command that cures each."
        ),
        "audit": Entry("audit", "Find from configuration alone where a rollout would cut a request."),
        "serve": Entry("serve", "Serve the page of chains over HTTP, and their metrics for Prometheus: /metrics."),
        "receive": Entry("receive", "Receive uploads: IETF resumable, tus, in parts, by Content-Range and plain."),
        "relay": Entry("relay", "Relay requests to the upstream."),
        "agent": Entry("agent", "Answer for the software of a tier on this machine: readiness, lame duck, counts."),
        "app": Entry("app", "Serve the example application until SIGTERM, then finish its requests and exit."),
        "keep": Entry("keep", "Replace instances that die, for as long as the chain is up.", hidden=True),
    }
)
