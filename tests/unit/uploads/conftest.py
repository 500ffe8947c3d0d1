"""The object storage that the tests of this folder share: one of each for a whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.uploads.buckets import Service, amazon, google


@pytest.fixture(scope="session")
def s3() -> Iterator[Service]:
    service = amazon()
    yield service
    service.close()


@pytest.fixture(scope="session")
def gcs() -> Iterator[Service]:
    service = google()
    yield service
    service.close()
