"""How a manifest changes."""

from __future__ import annotations

import pytest

from changeover.uploads.core.manifest import Manifest
from changeover.uploads.stores.store import Segment


def test_a_segment_that_grew_takes_the_place_of_what_it_was() -> None:
    manifest = Manifest("a", "tus", 0.0, None).appended([Segment("1", 3)])
    assert manifest.appended([Segment("1", 5)]).segments == (Segment("1", 5),)
    assert manifest.appended([Segment("2", 2)]).offset == 5


def test_a_segment_never_shrinks() -> None:
    manifest = Manifest("a", "tus", 0.0, None).appended([Segment("1", 3)])
    with pytest.raises(ValueError, match="shrank from 3 to 2"):
        manifest.appended([Segment("1", 2)])
