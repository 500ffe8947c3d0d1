"""CHN03: a tier of a chain file cuts uploads at its drain deadline."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity, met, unknown
from changeover.audit.limits import upload_fits
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View
from changeover.conf.tree import Map
from changeover.model.chain import Drain
from changeover.model.units import parse_seconds


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for tier in (tier for chain in view.chains for tier in chain.tiers):
        name = f"tier {tier.text('name')}"
        drain = tier.get("drain")
        policy = tier.text("drain", "policy") or Drain().policy
        text, deadline = tier.text("drain", "deadline"), Drain().deadline
        keys = drain.keys if isinstance(drain, Map) else {}
        where = keys.get("deadline", keys.get("policy", tier.place))
        if policy != "cut":
            yield met(where, name, f"policy {policy}: its deadline cuts nothing")
            continue
        try:
            deadline = float(parse_seconds(text)) if text is not None else deadline
        except ValueError:
            yield unknown(where, name, "drain.deadline cannot be read", "a time with its unit")
            continue
        shown = f"drain.deadline {text}" if text is not None else "drain.deadline is not set, so it is 600 s"
        yield upload_fits(
            Setting(deadline, where, shown),
            asked.request_seconds,
            name,
            asked,
            consequence=f"a GET survives; a POST in flight is cut {words.span(deadline)} after its instance begins "
            f"to drain",
            replacement=Setting(deadline, where, shown.removeprefix("drain.")).replaced_by(asked.request_seconds + 30),
            fix=f"deadline: {asked.request_seconds + 30:.0f}s, or policy: wait",
        )


RULE = Rule(
    id="CHN03",
    name="tier-cuts-at-its-deadline",
    severity=Severity.ERROR,
    what="The drain deadline of a tier is shorter than the longest upload, and its policy is `cut`.",
    why="With the policy `cut` an instance is stopped at its deadline, whatever is in flight. With `wait`, the "
    "default, the drain goes on and is reported, so the deadline cuts nothing.",
    sources=("https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2",),
    bad={
        "chain.yaml": """\
name: shop
tiers:
  - name: edge
    kind: nginx
    drain:
      policy: cut
      # expect: CHN03
      deadline: 120s
    templates: {v1: {}}
""",
    },
    good={
        "chain.yaml": """\
name: shop
tiers:
  - name: edge
    kind: nginx
    drain:
      policy: cut
      deadline: 460s
    templates: {v1: {}}
""",
    },
    fix="Raise `drain.deadline` above the longest upload, or use `policy: wait`.",
    check=check,
    lab="its example is a chain of this program: `changeover demo` runs one",
)
