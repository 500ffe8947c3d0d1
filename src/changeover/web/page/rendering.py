"""The page as HTML: regions, which the script replaces one by one as they change, and the frame around them.

Jinja2 with escaping on and strict names. Refuses inline script and inline style: the site's CSP has neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from changeover.model.units import human_bytes, human_seconds
from changeover.web.page import drawing
from changeover.web.page.rollouts import RolloutView
from changeover.web.page.terms import term
from changeover.web.page.view import ChainView, Sentence
from changeover.web.page.words import LANGUAGES

REGIONS = ("chains", "head", "now", "actions", "chain", "rollout", "history")
"""In the order of the page. Each is a template. Buttons are in regions that change with the state alone: a region that
counts seconds would be replaced under the pointer."""

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def span(seconds: float | None) -> str:
    """A duration that changes while it is looked at: whole seconds from 10 s on."""
    if seconds is None:
        return "-"
    return human_seconds(round(seconds) if seconds >= 10 else round(seconds, 1))


def utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def code(words: str) -> Markup:
    """A sentence of the program, with its `words` as code."""
    parts = words.split("`")
    if len(parts) % 2 == 0:
        return escape(words)
    return Markup("").join(
        Markup("<code>{}</code>").format(one) if n % 2 else escape(one) for n, one in enumerate(parts)
    )


_ENVIRONMENT.filters.update(span=span, utc=utc, size=human_bytes, code=code)


def text(lang: str, key: str, **facts: Any) -> str:
    """A text of `words`. Durations among the facts are in seconds."""
    shown = {name: span(value) if name in ("left", "time", "least") else value for name, value in facts.items()}
    return LANGUAGES[lang][key].format(**shown)


def regions(
    view: ChainView,
    rollout: RolloutView | None,
    chains: Sequence[tuple[int, str, str]],
    lang: str,
    root: str,
    *,
    acts: bool,
) -> Mapping[str, str]:
    """The HTML of each region. `chains`: number, name and state of each one of the site. `acts`: it has a token."""
    facts = {
        "view": view,
        "rollout": rollout,
        "chains": chains,
        "timeline": None if rollout is None else drawing.timeline(rollout),
        "charts": [(one, drawing.chart(one, rollout.seconds)) for one in rollout.guards] if rollout else [],
        "drawing": drawing,
        "acts": acts,
        "root": root,
        "lang": lang,
        "t": lambda key, **more: text(lang, key, **more),
        "term": lambda words: term(lang, words),
        "sentence": lambda one: _sentence(lang, one),
    }
    return {name: _ENVIRONMENT.get_template(f"{name}.html").render(facts) for name in REGIONS}


def page(view: ChainView, parts: Mapping[str, str], lang: str, root: str, rollout: int | None) -> str:
    """The whole page of one chain. `root`: the path of the site. `rollout`: a past one to show."""
    return _ENVIRONMENT.get_template("page.html").render(
        view=view, parts=parts, lang=lang, root=root, rollout=rollout, t=lambda key, **more: text(lang, key, **more)
    )


def plan_sentences(plan: Mapping[str, Any], to: str, lang: str) -> Sequence[str]:
    """What a roll would do, from the object of `plan --json`."""
    if not plan["tiers"]:
        return [text(lang, "plan_nothing", to=to)]
    found = []
    for one in plan["tiers"]:
        facts = {"tier": one["tier"], "source": one["from"], "to": one["to"], "strategy": one["strategy"]}
        found.append(text(lang, "plan_tier", instances=one["max_instances"], **facts))
        found += one["waits_for"]
    if plan["seconds"] is None:
        found.append(text(lang, "plan_open", least=plan["lower_bound_seconds"]))
    else:
        found.append(text(lang, "plan_time", time=plan["seconds"], least=plan["lower_bound_seconds"]))
    cut = plan["uploads_cut"]
    found.append(text(lang, "plan_cut", number=cut) if cut else text(lang, "plan_no_cut"))
    if unknown := plan["instances_without_counts"]:
        found.append(text(lang, "plan_unknown", names=", ".join(map(str, unknown))))
    return found


def _sentence(lang: str, one: Sentence) -> str:
    """Facts `name` and `number` are the first instance of so many: `who` names them in words."""
    unknown = LANGUAGES[lang]["unknown"]
    facts: dict[str, Any] = {
        name: unknown if value is None and name != "left" else value for name, value in one.facts.items()
    }
    if others := facts.get("number", 1) - 1:
        facts["who"] = text(lang, "and_more", name=facts["name"], number=others)
    return text(lang, one.key, who=facts.pop("who", facts.get("name")), **facts)
