"""What configuration does not say, and the operator does: sizes, rates, times, versions.

One field is one key of `--assume`. A field that is None is unknown: rules that need it answer `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from changeover.model.errors import fail
from changeover.model.units import Bytes, Seconds

LAN = 1_000_000_000
"""Bits per second between two hops: an upload that a hop in front has buffered arrives at this rate."""
_YES, _NO = {"yes", "true", "on"}, {"no", "false", "off"}


def _key(help: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Assumptions:
    """Times in seconds, sizes in bytes, rates in bits per second."""

    upload: int = _key("size of the largest upload", 50_000_000)
    client_rate: float = _key("rate of the slowest client, in bits per second", 1_000_000.0)
    app_time: float = _key("time that the application takes to answer, with the response", 30.0)
    client_stall: float = _key("longest pause of a client within an upload", 30.0)
    roll_window: float = _key("time that an old instance of a TCP proxy has until it is stopped", 300.0)
    edge_timeout: float | None = _key("time that the client or proxy in front of the first hop waits for a response")
    behind: str | None = _key("what stands in front of the first hop: `google`, the HTTP load balancer, or `clients`")
    reloads: bool | None = _key("whether nginx is reloaded while it serves: `yes` or `no`")
    idempotency_key: bool | None = _key("whether repeated POSTs are recognised by the application: `yes` or `no`")
    boot: float = _key("time from the creation of a machine until its application answers", 30.0)
    window: float | None = _key("time that a rollout may take")
    prestop_wait: float | None = _key("time that an instance answers as unready before it closes its listener")
    local_uploads: bool | None = _key("whether an upload can go on only on the machine where it began: `yes` or `no`")
    drained: bool | None = _key("whether an instance is out of every balancer before it is stopped: `yes` or `no`")
    weight_wait: float | None = _key("time from setting the weight of a target to 0 until it is stopped")
    kong: str | None = _key("version of Kong, such as 3.9")
    nginx: str | None = _key("version of nginx, such as 1.22.1")

    @property
    def upload_seconds(self) -> float:
        """The time that the slowest client takes to send the largest upload."""
        return self.upload * 8 / self.client_rate

    @property
    def request_seconds(self) -> float:
        """The time that this upload occupies a hop that forwards it as it arrives."""
        return self.upload_seconds + self.app_time

    @property
    def buffered_seconds(self) -> float:
        """The time that it occupies a hop behind one that buffers it."""
        return self.upload * 8 / LAN + self.app_time

    def slowest_rate(self, limit: float) -> float | None:
        """Bits per second of the slowest client whose upload ends within a limit of seconds; None if none does."""
        left = limit - self.app_time
        return self.upload * 8 / left if left > 0 else None

    def with_load(self, upload: float | None, client_rate: float | None) -> Assumptions:
        """With the size of an upload and the rate of a client, as far as they are given."""
        return replace(
            self,
            upload=self.upload if upload is None else int(upload),
            client_rate=self.client_rate if client_rate is None else client_rate,
        )

    def given(self, values: Mapping[str, str], where: str = "--assume") -> Assumptions:
        """With the values of `--assume KEY=VALUE`, or those of a file. Raises ChangeoverError."""
        types = {one.name: str(one.type) for one in fields(self)}
        parsed: dict[str, Any] = {}
        for key, text in values.items():
            if (name := key.replace("-", "_")) not in types:
                raise fail(f"{where}: no assumption is named {key}", next=f"There are: {', '.join(keys())}.")
            try:
                parsed[name] = _parsed(name, types[name], text)
            except (ValueError, ValidationError) as error:
                reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                raise fail(f"{where} {key}={text}: {reason.removeprefix('Value error, ')}") from error
        return replace(self, **parsed)


def keys() -> list[str]:
    """The keys of `--assume`."""
    return [one.name.replace("_", "-") for one in fields(Assumptions)]


def _parsed(name: str, kind: str, text: str) -> Any:
    if name == "upload":
        return positive(int(TypeAdapter(Bytes).validate_python(int(text) if text.isdigit() else text)))
    if name == "client_rate":
        return rate(text)
    if kind.startswith("float"):
        return TypeAdapter(Seconds).validate_python(text)
    if kind.startswith("bool"):
        if text.lower() not in _YES | _NO:
            raise ValueError("yes or no is needed")
        return text.lower() in _YES
    if name == "behind" and text not in {"google", "clients"}:
        raise ValueError("google or clients is needed")
    return text


def positive(value: int) -> int:
    if value <= 0:
        raise ValueError("more than 0 is needed")
    return value


_RATES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def rate(text: str) -> float:
    """`1Mbps`, `1Mb/s`, `500kbit/s` -> bits per second. Raises ValueError."""
    for ending in ("bps", "bit/s", "b/s"):
        number = text.removesuffix(ending)
        if number == text:
            continue
        unit = number[-1:] if number[-1:].isalpha() else ""
        try:
            found = float(number.removesuffix(unit)) * _RATES["k" if unit == "K" else unit]
        except (KeyError, ValueError):
            break
        if 0 < found < float("inf"):
            return found
    raise ValueError("a rate in bits with its unit is needed, such as 1Mbps or 500kbps")
