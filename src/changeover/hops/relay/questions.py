"""What a relay is asked at its admin address."""

from __future__ import annotations

from changeover.hops.in_flight_endpoint import PATH, in_flight
from changeover.hops.questions import Questions

QUESTIONS = Questions("/readyz", in_flight, counts_at=PATH)
