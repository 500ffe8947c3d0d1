"""Revisions of a template: a restart replaces all instances of a template by instances of its next revision.

Both run the same template. The revision tells old instances from new ones. It is written as the template with the
highest serial before the restart, `v1~7`, so it is never used twice. Messages show the template, and
that a rollout is a restart; the log that `show` prints has the revision.
"""

from __future__ import annotations

_SIGN = "~"
"""No name in a chain file can contain it."""


def next_revision(template: str, serial: int) -> str:
    """The revision of instances above that serial."""
    return f"{template_of(template)}{_SIGN}{serial}"


def template_of(revision: str) -> str:
    """The template that instances of a revision run. The first revision of a template is its name."""
    return revision.partition(_SIGN)[0]


def is_restart(before: str, after: str) -> bool:
    """Whether a rollout from the one revision to the other keeps the template."""
    return before != after and template_of(before) == template_of(after)
