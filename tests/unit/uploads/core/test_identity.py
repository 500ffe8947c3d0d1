"""A process that was forked has a name of its own."""

from __future__ import annotations

import os

from changeover.uploads.core.identity import ProcessIdentity


def name_in_a_fork(identity: ProcessIdentity) -> str:
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        os.write(writing, identity.name.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        name = pipe.read()
    os.waitpid(pid, 0)
    return name


def test_a_process_keeps_its_name() -> None:
    identity = ProcessIdentity()
    assert identity.name == identity.name
    assert str(os.getpid()) in identity.name


def test_every_process_that_is_forked_has_a_name_of_its_own_whether_or_not_its_parent_has_one() -> None:
    identity = ProcessIdentity()
    names = [name_in_a_fork(identity), name_in_a_fork(identity), identity.name, name_in_a_fork(identity)]
    assert len(set(names)) == 4
    assert all(names)


def test_two_engines_of_a_process_have_two_names() -> None:
    assert ProcessIdentity().name != ProcessIdentity().name
