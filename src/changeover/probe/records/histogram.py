"""Latencies in logarithmic buckets: a million of them in a few kilobytes, with an error of at most 1/32.

Refuses to underestimate: a quantile is the upper end of its bucket.
"""

from __future__ import annotations

_BITS = 5  # 32 buckets for each doubling: an error of at most 3.2 %, and exact below 32 microseconds
_SUB = 1 << _BITS


class Histogram:
    """Counts of durations. Arguments and results are in seconds; buckets are in microseconds."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.max = 0.0

    def add(self, seconds: float) -> None:
        bucket = _bucket(max(0, round(seconds * 1e6)))
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.max = max(self.max, seconds)

    def quantile(self, share: float) -> float:
        """The duration that `share` of all durations do not exceed. Raises ValueError without any duration."""
        if not self.count:
            raise ValueError("the histogram has no durations, so it has no quantile")
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_upper(bucket) / 1e6, self.max)
        return self.max


def _bucket(value: int) -> int:
    """The exponent in the high bits, the `_BITS` digits after the leading 1 in the low bits."""
    shift = max(0, value.bit_length() - _BITS - 1)
    return (shift << _BITS) + (value >> shift)


def _upper(bucket: int) -> int:
    """The largest value that falls into the bucket."""
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
