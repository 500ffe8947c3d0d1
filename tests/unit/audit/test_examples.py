"""The project's own examples have no finding that is not accepted with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.audit.expectations import violations

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.files import load

EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/*"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_clean(example: Path) -> None:
    loaded = load([example])
    found = audit(loaded.documents, Assumptions(), loaded.texts)
    assert violations(found) == set()
    assert not loaded.unreadable
    assert not found.unused
    assert found.judged
