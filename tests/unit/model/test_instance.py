"""Addresses, and what is in flight, in words."""

from __future__ import annotations

import pytest

from changeover.model.instance import Address, InFlight, Upload


@pytest.mark.parametrize("text", ["127.0.0.1:8443", "0.0.0.0:0", "edge.example:65535"])
def test_an_address_is_printed_as_it_was_read(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", "8443", ":8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "a:b", "a:-1"])
def test_what_is_no_address_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"an address is needed, such as 127\.0\.0\.1:8443"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("in_flight", "busy"),
    [
        (InFlight(0, 0), False),
        (InFlight(None, 0), False),
        (InFlight(1, 0), True),
        (InFlight(0, 1), True),  # an idle pooled connection may carry the next request
        (InFlight(None, 1), True),
    ],
)
def test_an_instance_is_busy_while_stopping_it_could_break_a_request(in_flight: InFlight, busy: bool) -> None:
    assert in_flight.busy is busy


@pytest.mark.parametrize(
    ("in_flight", "text"),
    [
        (InFlight(0, 0), "0 connections"),
        (InFlight(None, 1), "1 connection"),
        (InFlight(2, 3), "2 requests, 3 connections"),
        (InFlight(1, 0), "1 request"),
        (
            InFlight(3, 4, (Upload(0, 6_000_000, 1.0), Upload(700_000, 7_000_000, 1.0))),
            "2 uploads with 12.3 MB to come, 1 other request, 4 connections",
        ),
        (InFlight(1, 1, (Upload(5_000_000, None, 1.0),)), "1 upload, 1 connection"),
    ],
)
def test_in_flight_is_printed_in_words(in_flight: InFlight, text: str) -> None:
    assert str(in_flight) == text


def test_the_bytes_left_are_unknown_when_one_upload_did_not_say() -> None:
    reported, untold = Upload(10, 30, 1.0), Upload(10, None, 1.0)
    assert InFlight(1, 1, (reported,)).bytes_left == 20
    assert InFlight(2, 2, (reported, untold)).bytes_left is None


def test_an_upload_that_sent_more_than_it_announced_has_nothing_left() -> None:
    assert Upload(50, 40, 1.0).left == 0
