"""What `changeover audit --prove` does: run the examples of a rule, and report the outcome of their requests."""

from __future__ import annotations

from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.cli import exits
from changeover.cli.rendering import lab as rendering
from changeover.cli.rendering.output import Output
from changeover.lab.demonstrations import ALL
from changeover.lab.prove import Proof, prove
from changeover.model.errors import ChangeoverError, fail

EVERY = "all"


async def demonstrate(output: Output, wanted: str) -> int:
    """One rule, or every rule that has a demonstration and whose software is installed."""
    rules = {rule.id: rule for rule in all_rules()}
    chosen = [rules[id] for id in ALL] if wanted == EVERY else [_named(rules, wanted)]
    proofs: list[Proof] = []
    absent: dict[str, str] = {}
    for rule in chosen:
        for shown in ALL[rule.id]:
            output.note(f"{rule.id}: {shown.how}; 1 s stands for {shown.scale:g} s")
            try:
                proofs.append(await prove(rule, shown))
            except ChangeoverError as error:
                if wanted != EVERY:
                    raise
                absent[rule.id] = "; ".join(map(str, error.problems))
    output.result(rendering.data(proofs, absent), rendering.text(proofs, absent))
    if any(one.disagreements for one in proofs):
        return exits.ROLLED_BACK
    return exits.COULD_NOT if absent else exits.DONE


def _named(rules: dict[str, Rule], wanted: str) -> Rule:
    rule = rules.get(wanted.upper())
    if rule is None:
        raise fail(f"no rule is named {wanted}", next=f"With a demonstration there are: {', '.join(ALL)}.")
    if rule.lab:
        raise fail(f"{rule.id} cannot be demonstrated here: {rule.lab}", next=f"There are: {', '.join(ALL)}.")
    return rule
