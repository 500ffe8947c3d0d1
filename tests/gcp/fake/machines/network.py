"""A network of the fake's own: 127.N.0.0/16, which no other fake of this machine has at the same time."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

LOCK_PORT = 8099
"""Bound on 127.N.255.254 for as long as the fake lives."""


class Network:
    def __init__(self) -> None:
        for number in _candidates():
            lock = socket.socket()
            try:
                lock.bind((f"127.{number}.255.254", LOCK_PORT))
            except OSError:
                lock.close()
                continue
            self._lock = lock
            self.prefix = f"127.{number}"
            break
        else:
            raise SystemExit("fake: every network from 127.16.0.0 to 127.250.0.0 is in use")
        self._vms = itertools.count(1)
        self._balancers = itertools.count(1)

    def vm(self) -> str:
        """An address that no VM of this fake had before, from 127.N.8.1 on."""
        number = next(self._vms)
        return f"{self.prefix}.{8 + number // 254}.{1 + number % 254}"

    def balancer(self) -> str:
        """An address for a forwarding rule without one, from 127.N.4.1 on."""
        return f"{self.prefix}.4.{next(self._balancers)}"


def _candidates() -> Iterator[int]:
    first = os.getpid() % 235
    yield from (16 + (first + step) % 235 for step in range(235))
