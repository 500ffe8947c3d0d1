"""Servers that a shell script of the set starts: what the auditor sees of it."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited, violations

from changeover.audit.finding import Outcome
from changeover.audit.starts import Reaches

DOCKERFILE = "FROM python:3.12\nCOPY entry.sh /\n{}\n"
ENTRY = 'ENTRYPOINT ["/entry.sh"]'


def found_of(script: str, dockerfile: str = ENTRY) -> set[tuple[str, int, str]]:
    return violations(audited({"Dockerfile": DOCKERFILE.format(dockerfile), "entry.sh": script}))


def test_the_options_of_a_server_in_a_script_are_reported_at_their_line() -> None:
    script = (
        "#!/bin/sh\nset -e\n# gunicorn doesn't wait\necho starting gunicorn now\nexec gunicorn a:a \\\n  --threads 4\n"
    )
    assert found_of(script) == {("entry.sh", 5, "APP01")}


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/bash\nset -euo pipefail\npython manage.py migrate\nexec uvicorn a:a\n",
        '#!/usr/bin/env bash\nif [ -n "$DEV" ]; then\n  exec uvicorn --reload a:a\nelse\n  exec uvicorn a:a\nfi\n',
        '#!/bin/sh\ncase "$1" in\n  web)\n    exec uvicorn a:a ;;\n  *)\n    exec celery worker ;;\nesac\n',
        "#!/bin/sh\ncat <<EOF > /etc/x\nit's gunicorn a:a\nEOF\nexec tini -- uvicorn a:a\n",
    ],
)
def test_a_script_that_execs_its_server_passes_the_signal_on(script: str) -> None:
    audit = audited({"Dockerfile": DOCKERFILE.format(ENTRY), "entry.sh": script})
    (command,) = audit.view.commands
    assert (command.start.software, command.start.reaches) == ("uvicorn", Reaches.YES)


@pytest.mark.parametrize("script", ["#!/bin/sh\nuvicorn a:a\n", "#!/bin/sh\ncd /app\nuvicorn a:a --workers $N\n"])
def test_a_script_that_execs_nothing_keeps_the_signal(script: str) -> None:
    assert ("Dockerfile", 3, "APP05") in found_of(script)


@pytest.mark.parametrize(
    "command",
    [
        'ENTRYPOINT ["/entry.sh"]\nCMD ["uvicorn", "a:a"]',
        "CMD tini -- /entry.sh uvicorn a:a",
        "CMD sh entry.sh uvicorn a:a",
    ],
)
def test_a_script_that_execs_its_words_starts_what_they_name(command: str) -> None:
    audit = audited({"Dockerfile": DOCKERFILE.format(command), "entry.sh": '#!/bin/sh\nmigrate\nexec "$@"\n'})
    assert [one.start.software for one in audit.view.commands] == ["uvicorn"]
    assert (
        Outcome.UNKNOWN not in {one.finding.outcome for one in audit.judged if one.rule.id == "APP05"}
        or "CMD" in command
    )


def test_scripts_of_the_same_name_belong_to_the_commands_beside_them() -> None:
    files = {
        "a/Dockerfile": DOCKERFILE.format(ENTRY),
        "a/entry.sh": "#!/bin/sh\nexec uvicorn a:a\n",
        "b/Dockerfile": DOCKERFILE.format(ENTRY),
        "b/docker/entry.sh": "#!/bin/sh\nexec hypercorn a:a\n",
        "Dockerfile": DOCKERFILE.format(ENTRY),
    }
    started = {one.place.file: one.start for one in audited(files).view.commands}
    assert [started[name].software for name in ("a/Dockerfile", "b/Dockerfile", "Dockerfile")] == [
        "uvicorn",
        "hypercorn",
        None,
    ]
    assert started["Dockerfile"].is_unknown


def test_a_script_that_starts_itself_ends() -> None:
    assert found_of("#!/bin/sh\nexec /entry.sh\n") == set()


def test_a_script_writes_files_of_other_formats_and_is_none_of_them() -> None:
    script = "#!/bin/sh\ncat > nginx.conf <<EOF\nhttp { server { location / { proxy_pass http://10.0.0.1; } } }\nEOF\n"
    assert audited({"setup.sh": script}).view.hops == ()
