"""The findings of `validate`: one JSON object, or lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from changeover.cli.validation import Findings
from changeover.model.chain import Chain, Tier
from changeover.model.errors import Problem


def data(file: Path, chain: Chain | None, findings: Findings) -> dict[str, Any]:
    return {
        "file": str(file),
        "valid": not findings.problems,
        "problems": [_problem(one) for one in findings.problems],
        "warnings": [_problem(one) for one in findings.warnings],
        "chain": None if chain is None else chain.name,
        "tiers": [
            {"name": tier.name, "kind": tier.kind, "size": size, "templates": list(tier.templates)}
            for tier, size in (_sizes(chain) if chain else ())
        ],
    }


def picture(file: Path, chain: Chain | None, findings: Findings) -> str:
    return "\n".join(_lines(file, chain, findings))


def _lines(file: Path, chain: Chain | None, findings: Findings) -> Iterator[str]:
    yield from (f"problem: {one}" for one in findings.problems)
    yield from (f"warning: {one}" for one in findings.warnings)
    if findings.problems:
        yield f"{file}: {len(findings.problems)} problem{'s' * (len(findings.problems) > 1)}"
    elif chain is not None:
        tiers = " -> ".join(
            f"{tier.name} ({tier.kind if size is None else f'{size} x {tier.kind}'})" for tier, size in _sizes(chain)
        )
        yield f"{file}: valid. {chain.name}: {tiers}"


def _sizes(chain: Chain) -> Iterator[tuple[Tier, int | None]]:
    """Each tier with its size; None where it is that of a group, which only `up` reads."""
    here = chain.platform.kind == "local"
    return ((tier, tier.size if here or "size" in tier.model_fields_set else None) for tier in chain.tiers)


def _problem(one: Problem) -> dict[str, str]:
    return {"what": one.what, "where": one.where, "state": one.state, "next": one.next}
