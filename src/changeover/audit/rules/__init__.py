"""Every rule. A new one is one module in a family's folder: nothing else names it."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from changeover.audit.rule import Rule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Sorted by id."""
    found = [
        import_module(f"{__name__}.{family.name}.{module.name}").RULE
        for family in pkgutil.iter_modules(__path__)
        if family.ispkg
        for module in pkgutil.iter_modules(import_module(f"{__name__}.{family.name}").__path__)
        if not module.name.startswith("_")
    ]
    return tuple(sorted(found, key=lambda rule: rule.id))
