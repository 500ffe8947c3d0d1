"""A plan that was saved is carried out as it was made, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from changeover.engine.release.saved_plan import FORMAT, SavedPlan, digest, find, save, stale
from changeover.model.errors import ChangeoverError

PLAN = SavedPlan("0123456789ab", {"web": "v2"}, "canary", {"the template of web": "v1 -> v2"})

PLAN_0 = (
    '{\n  "id": "0123456789ab",\n  "goals": {\n    "web": "v2"\n  },\n  "strategy": null,\n'
    '  "basis": {\n    "strategy": "the chain file\'s"\n  }\n}'
)
"""As versions wrote it that stored no format."""


def written(folder: Path, text: str) -> Path:
    file = folder / "plans" / f"{PLAN.id}.json"
    file.parent.mkdir()
    file.write_text(text)
    return file


def test_a_plan_is_found_as_it_was_saved(tmp_path: Path) -> None:
    save(tmp_path, PLAN)
    assert find(tmp_path, PLAN.id) == PLAN


def test_the_words_in_the_file_are_its_own(tmp_path: Path) -> None:
    """A field that is renamed in Python keeps its word in the file: only a new format changes these."""
    save(tmp_path, PLAN)
    assert json.loads((tmp_path / "plans" / f"{PLAN.id}.json").read_text()) == {
        "format": 1,
        "id": "0123456789ab",
        "targets": {"web": "v2"},
        "strategy": "canary",
        "basis": {"the template of web": "v1 -> v2"},
    }


@pytest.mark.parametrize(
    ("text", "version"), [(PLAN_0, "an older"), (json.dumps({"format": FORMAT + 1, "id": PLAN.id}), "a newer")]
)
def test_a_plan_of_another_version_is_refused(text: str, version: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ChangeoverError) as refused:
        find(tmp_path, PLAN.id)
    assert str(refused.value) == (
        f"{file}: plan {PLAN.id} was made by {version} version of changeover\n"
        "  Nothing was changed.\n"
        "  Make the plan again with `changeover plan`."
    )


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1, "id": "0123456789ab"}'])
def test_a_damaged_plan_is_refused(text: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ChangeoverError, match=f"plan {PLAN.id} cannot be read") as refused:
        find(tmp_path, PLAN.id)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("number", ["000000000000", "../journal", ""])
def test_a_plan_that_does_not_exist_is_named(number: str, tmp_path: Path) -> None:
    with pytest.raises(ChangeoverError, match=f"there is no plan {number} in"):
        find(tmp_path, number)


def test_a_stale_plan_names_every_fact_that_changed() -> None:
    now = {"the template of web": "v2 -> v2", "the instances of web": "web-v2-3"}
    text = str(stale(PLAN, now, now))
    assert "plan 0123456789ab is stale" in text
    assert "the template of web: was v1 -> v2, is v2 -> v2" in text
    assert "the instances of web: was None, is web-v2-3" in text
    assert "Nothing was changed." in text


def test_the_id_of_a_plan_depends_on_its_facts_and_not_on_their_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
    assert len(digest({})) == 12
