"""How each kind of file writes a stop, so that a fix names the keys of the file that it is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StopKeys:
    """`{}` of `signal` is a name without SIG, that of `time` whole seconds until SIGKILL.

    `before`: how to run a command before the signal, which stands in place of `{}`.
    """

    signal: str
    time: str
    before: str
    alone: str = ""
    """What else the signal needs to be the first, and the only one before SIGKILL."""

    def first(self, signal: str) -> str:
        return self.signal.replace("{}", signal) + self.alone

    def after(self, command: str) -> str:
        return self.before.replace("{}", command)

    def until_kill(self, seconds: float) -> str:
        return self.time.replace("{}", f"{seconds:.0f}")


SYSTEMD = StopKeys(
    "KillSignal=SIG{}", "TimeoutStopSec={}", "ExecStop=/bin/sh -c '{}'", " and KillMode=mixed, and no ExecStop"
)
COMPOSE = StopKeys("stop_signal: SIG{}", "stop_grace_period: {}s", 'pre_stop: [{command: ["sh", "-c", "{}"]}]')
SUPERVISORD = StopKeys("stopsignal={}", "stopwaitsecs={}", "{} && supervisorctl stop")
DOCKERFILE = StopKeys("STOPSIGNAL SIG{}", "docker stop --time {}", "{} && docker stop")
KUBERNETES = StopKeys(
    "lifecycle.stopSignal: SIG{} (Kubernetes 1.33 or newer), or STOPSIGNAL SIG{} in the image",
    "terminationGracePeriodSeconds: {}",
    'lifecycle: {preStop: {exec: {command: ["sh", "-c", "{}"]}}}',
)
