"""Demonstrations of rules: as text, as one JSON object, and as the rows of docs/rules.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from changeover.audit.rule import Rule
from changeover.lab.prove import Proof, Run


def data(proofs: Sequence[Proof], absent: Mapping[str, str]) -> Mapping[str, Any]:
    """`absent`: why a rule was not demonstrated, by its id."""
    return {
        "not_demonstrated": [{"rule": rule, "why": why} for rule, why in absent.items()],
        "proofs": [
            {
                "rule": one.rule.id,
                "how": one.shown.how,
                "happens": one.shown.happens.value,
                "scale": one.shown.scale,
                "counts": one.shown.counts or "lost requests",
                "bad": _run(one.bad),
                "good": _run(one.good),
                "disagreements": list(one.disagreements),
            }
            for one in proofs
        ],
    }


def _run(run: Run) -> dict[str, Any]:
    return {"sent": len(run.sent), "counted": run.harm, "lost": _lost(run)}


def _lost(run: Run) -> dict[str, int]:
    return dict(sorted(Counter(f"{one.method}: {one.reason}" for one in run.lost()).items()))


def text(proofs: Sequence[Proof], absent: Mapping[str, str]) -> Text:
    missing = [Text(f"{rule} not demonstrated: {why}", "magenta") for rule, why in absent.items()]
    return Text("\n\n").join([*(_text(one) for one in proofs), *missing])


def _text(proof: Proof) -> Text:
    shown = proof.shown
    found = Text(f"{proof.rule.id} ", "bold").append(f"{proof.rule.name}: {shown.how}\n")
    found.append(f"    {shown.happens.value}; 1 s stands for {shown.scale:g} s\n", "dim")
    for name, run in (("bad", proof.bad), ("good", proof.good)):
        found.append(f"    {name:<4} ", "red" if run.harm else "green").append(f"{_counted(proof, run)}\n")
    if not proof.disagreements:
        return found.append("    as the rule says", "green")
    return found.append("    NOT as the rule says: " + "; ".join(proof.disagreements), "bold red")


def _counted(proof: Proof, run: Run) -> str:
    if proof.shown.counts:
        return f"{proof.shown.counts}: {run.harm}"
    reasons = [f"{count} {reason}" for reason, count in _lost(run).items()]
    return f"{run.harm} of {len(run.sent)} requests lost" + (f" ({', '.join(reasons)})" if reasons else "")


def row(proof: Proof) -> str:
    """Of the table in docs/rules.md. Without the number of requests, which differs between runs."""
    shown = proof.shown
    bad, good = _kinds(proof, proof.bad), _kinds(proof, proof.good)
    return f"| {proof.rule.id} | {shown.how} | {shown.scale:g} | {bad} | {good} |"


def _kinds(proof: Proof, run: Run) -> str:
    if proof.shown.counts:
        return f"{proof.shown.counts}: {run.harm}"
    kinds = sorted({one.method for one in run.lost()})
    return f"loses {' and '.join(kinds)}" if kinds else "loses nothing"


def reasons(rules: Sequence[Rule]) -> str:
    """Why the other rules are not demonstrated, as rows."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        if rule.lab:
            found.setdefault(rule.lab, []).append(rule.id)
    return "".join(f"| {', '.join(ids)} | {why} |\n" for why, ids in found.items())
