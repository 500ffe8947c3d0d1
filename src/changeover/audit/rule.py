"""A rule: text first, check last. One module in rules/ holds one rule, in the name RULE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity
from changeover.audit.view import View

GOOGLE_CLOUD = "it needs Google Cloud"
KONG = "it needs Kong, which is no package of any distribution"
Check = Callable[[View, Assumptions], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """The examples are files by name. In `bad`, `# expect: ID` marks each line that the rule reports."""

    id: str
    name: str
    severity: Severity
    what: str
    why: str
    sources: tuple[str, ...]
    bad: Mapping[str, str]
    good: Mapping[str, str]
    fix: str
    check: Check
    assume: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What both examples assume."""
    assume_bad: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the bad example assumes besides."""
    lab: str = ""
    """Why `--prove` cannot demonstrate it; empty where the lab has a demonstration."""
