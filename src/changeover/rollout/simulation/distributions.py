"""Distributions of times, sizes and speeds, and the traffic that is in flight on an instance at any moment.

The caller passes the source of randomness, so that the same source in the same state gives the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, log, sqrt
from typing import Protocol


class Random(Protocol):
    """A source of randomness; `random.Random` is one."""

    def random(self) -> float:
        """Evenly between 0 and 1, 1 excluded."""
        ...

    def gauss(self, mu: float, sigma: float) -> float:
        """From the normal distribution."""
        ...


class Distribution(Protocol):
    """A distribution of positive numbers that can also be drawn by weight.

    `draw(random, weight)` takes each value x in proportion to x ** weight: with weight 1 a value that is twice as large
    is drawn twice as often, as a long upload is observed more often at a random moment.
    """

    def mean(self, power: int = 1) -> float:
        """Of x ** power, for a power of 1 or -1."""
        ...

    def draw(self, random: Random, weight: int = 0) -> float:
        """One value, for a weight of -1, 0 or 1."""
        ...


@dataclass(frozen=True)
class Constant:
    """Always the same value."""

    value: float

    def mean(self, power: int = 1) -> float:
        return self.value**power

    def draw(self, random: Random, weight: int = 0) -> float:
        return self.value


@dataclass(frozen=True)
class Uniform:
    """Evenly between two values; `low` is above 0."""

    low: float
    high: float

    def mean(self, power: int = 1) -> float:
        if power > 0 or self.low == self.high:
            return ((self.low + self.high) / 2) ** power
        return log(self.high / self.low) / (self.high - self.low)

    def draw(self, random: Random, weight: int = 0) -> float:
        low, high, share = self.low, self.high, random.random()
        match weight:
            case 1:
                return sqrt(low**2 + share * (high**2 - low**2))
            case -1:
                return low * exp(share * log(high / low))
            case _:
                return low + share * (high - low)


@dataclass(frozen=True)
class LogNormal:
    """Log-normal: half lies below `median`, two thirds between median / factor and median * factor.

    Sizes of files, speeds of lines and times to start are distributed like this.
    """

    median: float
    factor: float

    @cached_property
    def _sigma(self) -> float:
        return log(self.factor)

    def mean(self, power: int = 1) -> float:
        return self.median**power * exp(self._sigma**2 / 2)

    def draw(self, random: Random, weight: int = 0) -> float:
        return self.median * exp(weight * self._sigma**2 + random.gauss(0.0, self._sigma))


def waiting_time(random: Random, mean: float) -> float:
    """Time until the next of events that come at random, one per `mean` on average."""
    return -mean * log(1.0 - random.random())


def poisson(random: Random, mean: float) -> int:
    """A draw from the Poisson distribution with that mean."""
    number = 0
    while mean > 0:
        part = min(mean, 500.0)  # exp(-745) is the smallest there is
        mean -= part
        limit, product = exp(-part), random.random()
        while product > limit:
            product *= random.random()
            number += 1
    return number


@dataclass(frozen=True)
class TrafficModel:
    """Requests that come to one serving instance at random: `rate` a second, each taking work / pace seconds."""

    rate: float
    work: Distribution
    pace: Distribution = Constant(1.0)

    @cached_property
    def at_once(self) -> float:
        """How many are in flight on average (Little's law)."""
        return self.rate * self.work.mean() * self.pace.mean(-1) if self.rate else 0.0

    def in_flight(self, random: Random, age: float) -> list[float]:
        """Seconds that each request still needs which is in flight on an instance that began to serve `age` ago.

        Drawn when it is needed instead of simulating every request everywhere, and exact for requests that arrive
        independently of each other and do not slow each other down (an M/G/infinity queue): at any moment of its
        steady state a Poisson number is in flight; each is met in proportion to how long it takes, which for
        work / pace means work by weight 1 and pace by weight -1, and is done by an evenly spread share. Those that
        would have begun before the instance served never came, and leaving them out is exact as well.

        What it leaves out: an instance's rate is taken as constant, though the same traffic falls on more instances
        or fewer while a tier is being rolled (a share of surge / size at most), and clients do not retry.
        """
        left = []
        for _ in range(poisson(random, self.at_once)):
            seconds = self.work.draw(random, 1) / self.pace.draw(random, -1)
            done = random.random()
            if done * seconds < age:
                left.append((1.0 - done) * seconds)
        return left
