"""How each kind of file writes a stop, so that a fix names the keys of the file that it is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StopKeys:
    """`{}` of `signal` is a name without SIG, that of `time` whole seconds until SIGKILL."""

    signal: str
    time: str
    alone: str = ""
    """What else the signal needs to be the first, and the only one before SIGKILL."""

    def first(self, signal: str) -> str:
        return self.signal.replace("{}", signal) + self.alone

    def until_kill(self, seconds: float) -> str:
        return self.time.replace("{}", f"{seconds:.0f}")


SYSTEMD = StopKeys("KillSignal=SIG{}", "TimeoutStopSec={}", " and KillMode=mixed, and no ExecStop")
COMPOSE = StopKeys("stop_signal: SIG{}", "stop_grace_period: {}s")
SUPERVISORD = StopKeys("stopsignal={}", "stopwaitsecs={}")
DOCKERFILE = StopKeys("STOPSIGNAL SIG{}", "docker stop --time {}")
KUBERNETES = StopKeys(
    "lifecycle.stopSignal: SIG{} (Kubernetes 1.33 or newer), or STOPSIGNAL SIG{} in the image",
    "terminationGracePeriodSeconds: {}",
)
