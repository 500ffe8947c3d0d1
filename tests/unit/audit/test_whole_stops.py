"""hypercorn, whose workers end at once at a SIGTERM of their own: who gets the signal decides."""

from __future__ import annotations

import pytest

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.finding import Outcome
from changeover.audit.rules.app.app03 import RULE
from changeover.conf.registry import reader_of

UNIT = "[Service]\nExecStart=/srv/bin/%s app:app\n%s"
PROGRAM = "[program:app]\ncommand=%s app:app\n%s"


def outcome(file: str, text: str) -> Outcome:
    reader = reader_of(text, file)
    assert reader is not None
    (found,) = audit(reader.read(text, file), Assumptions(), {}, rules=[RULE]).judged
    return found.finding.outcome


@pytest.mark.parametrize(
    ("server", "more", "expected"),
    [
        ("hypercorn", "", Outcome.VIOLATED),
        ("hypercorn", "KillMode=control-group\n", Outcome.VIOLATED),
        ("hypercorn", "KillMode=mixed\n", Outcome.MET),
        ("hypercorn", "KillMode=process\n", Outcome.MET),
        ("hypercorn", "KillSignal=SIGINT\n", Outcome.MET),
        ("hypercorn", "ExecStop=/bin/kill -s TERM $MAINPID\n", Outcome.VIOLATED),
        ("hypercorn", "ExecStop=/bin/kill -s TERM $MAINPID\nKillMode=mixed\n", Outcome.MET),
        ("gunicorn", "ExecStop=/bin/kill -s TERM $MAINPID\nKillSignal=SIGINT\n", Outcome.VIOLATED),
        ("gunicorn", "", Outcome.MET),
        ("uvicorn", "", Outcome.MET),
        ("granian", "", Outcome.MET),
    ],
)
def test_a_unit_that_signals_every_process_cuts_what_hypercorn_answers(
    server: str, more: str, expected: Outcome
) -> None:
    assert outcome("app.service", UNIT % (server, more)) is expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [("", Outcome.MET), ("stopasgroup=true\n", Outcome.VIOLATED), ("stopasgroup=false\n", Outcome.MET)],
)
def test_supervisord_signals_every_process_only_if_it_is_told_to(more: str, expected: Outcome) -> None:
    assert outcome("supervisord.conf", PROGRAM % ("hypercorn", more)) is expected
