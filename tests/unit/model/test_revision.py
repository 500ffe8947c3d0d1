from __future__ import annotations

from changeover.model.revision import is_restart, next_revision, template_of


def test_a_revision_runs_its_template_and_is_never_used_twice() -> None:
    first = next_revision("v1", 2)
    second = next_revision(first, 4)
    assert len({"v1", first, second}) == 3
    assert {template_of(one) for one in ("v1", first, second)} == {"v1"}


def test_a_rollout_between_revisions_of_one_template_is_a_restart() -> None:
    assert is_restart("v1", next_revision("v1", 2))
    assert is_restart(next_revision("v1", 2), "v1")
    assert not is_restart("v1", "v1")
    assert not is_restart("v1", "v2")
    assert not is_restart("v1", next_revision("v2", 2))
