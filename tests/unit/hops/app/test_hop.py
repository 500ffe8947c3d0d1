"""How an application is started, and how its answers are understood."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from tests.unit.answered import Answered
from tests.unit.hops.contexts import instance, launch_context

from changeover.hops.app.hop import App
from changeover.hops.app.settings import PLACEHOLDERS, AppSettings
from changeover.kit.direct_http import DirectClient
from changeover.model.chain import content_hash
from changeover.model.config_model import STORED
from changeover.model.health import Health
from changeover.model.instance import Address, InFlight, LaunchSpec, Upload
from changeover.model.readiness import Readiness
from changeover.ports import Unknown

CONTEXT = launch_context(instance=instance("runtime-v2-3", 21000, 21000), behind=(), folder="/chain")


def launch(**settings: Any) -> LaunchSpec:
    nobody = Answered(answer=silent)
    return App(nobody).launch(AppSettings.model_validate(settings), CONTEXT)


def ask(what: Callable[[App], Any], answer: Callable[[httpx.Request], httpx.Response]) -> Any:
    async def asked() -> Any:
        client = Answered(answer=answer)
        return await what(App(client))

    return asyncio.run(asked())


def in_flight(answer: httpx.Response) -> InFlight:
    found: InFlight = ask(lambda app: app.in_flight(CONTEXT.instance), lambda _: answer)
    return found


def silent(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too slow")


def not_ready(answer: Callable[[httpx.Request], httpx.Response], **health: Any) -> str:
    """Why an instance with that `health` is not ready."""
    asked = replace(CONTEXT.instance, readiness=Health.model_validate(health).question("/readyz"))
    found: str = ask(lambda app: app.not_ready(asked, 2.0), answer)
    return found


@pytest.mark.parametrize(("path", "asked"), [(None, "/readyz"), ("/healthz?full=1", "/healthz?full=1")])
def test_it_is_asked_for_readiness_at_the_path_that_its_record_names(path: str | None, asked: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.url.raw_path.decode() == asked else 404)

    assert not not_ready(answer, path=path)


# -- starting ------------------------------------------------------------------------------------------------------


def test_every_placeholder_of_a_command_is_filled_in() -> None:
    words = ["server", "{host}:{port}", "{name}", "{version}", "{shared}/x", "--gone={lame_duck}"]
    assert launch(command=words).argv == (
        "server",
        "127.0.0.1:21000",
        "runtime-v2-3",
        "v2",
        "/state/shared/x",
        "--gone=/state/instances/edge-v1-1/lame-duck",
    )


def test_the_placeholders_are_those_that_the_setting_names() -> None:
    description = AppSettings.model_fields["command"].description or ""
    for name in PLACEHOLDERS:
        assert "{%s}" % name in description  # noqa: UP031
        assert launch(command=["{%s}" % name]).argv != ("{%s}" % name,)  # noqa: UP031


def test_other_braces_are_left_alone_and_nothing_is_filled_in_twice() -> None:
    words = ['{"a": {"b": {}}}', "{ print $1 }", "{version}"]
    assert launch(command=words, version="{port}").argv == ('{"a": {"b": {}}}', "{ print $1 }", "{port}")


def test_two_braces_stand_for_a_literal_one() -> None:
    assert launch(command=["awk", "{{print}}", "{{port}}={port}"]).argv == ("awk", "{print}", "{port}=21000")


@pytest.mark.parametrize("where", [{"command": ["serve", "{prot}"]}, {"env": {"PORT": "{prot}"}}])
def test_an_unknown_placeholder_is_refused_with_the_known_ones_and_without_its_text(where: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        AppSettings.model_validate(where)
    message = str(refused.value)
    assert all("{%s}" % name in message for name in PLACEHOLDERS)  # noqa: UP031
    assert "{{text}}" in message
    assert "prot" not in message


def test_a_template_that_an_earlier_version_accepted_keeps_its_braces() -> None:
    nobody = Answered(answer=silent)
    stored = AppSettings.model_validate({"command": ["awk", "{print}"]}, context=STORED)
    assert App(nobody).launch(stored, CONTEXT).argv == ("awk", "{print}")


def test_it_runs_in_the_folder_of_the_chain_file_or_below_it(tmp_path: Path) -> None:
    context = replace(CONTEXT, folder=str(tmp_path))
    app = App(Answered(answer=silent))
    for given, cwd in ({}, tmp_path), ({"cwd": "app"}, tmp_path / "app"), ({"cwd": "/srv"}, Path("/srv")):
        settings = AppSettings.model_validate({"command": ["x", "{folder}/y"], **given})
        assert app.launch(settings, context).cwd == str(cwd)
        assert app.launch(settings, context).argv == ("x", f"{tmp_path}/y")
    assert app.launch(AppSettings(), context).cwd == "", "Python imports modules from the example's working directory"


def test_user_needs_a_command_without_files_of_the_state_folder() -> None:
    for given in ({}, {"command": ["x", "{lame_duck}"]}, {"command": ["x"], "env": {"DIR": "{shared}"}}):
        with pytest.raises(ValidationError, match="cannot enter the state folder"):
            AppSettings.model_validate({"user": "nobody", **given})


@pytest.mark.parametrize("umask", [18, 0o27, "27", "0o27", "888", "12345"])
def test_a_umask_is_octal_digits_in_quotes(umask: object) -> None:
    with pytest.raises(ValidationError, match="umask"):
        AppSettings.model_validate({"umask": umask})


@pytest.mark.parametrize(
    "twice",
    [
        {"env": {"A": "1"}, "pass": ["A"]},
        {"env": {"A": "1"}, "secrets": {"A": {"file": "a"}}},
        {"pass": ["A"], "secrets": {"A": {"file": "a"}}},
        {"pass": ["A", "A"]},
    ],
)
def test_a_variable_has_one_source(twice: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"one source|names a variable twice"):
        AppSettings.model_validate(twice)


def test_an_edited_value_is_another_template_though_no_dump_and_no_repr_shows_it() -> None:
    one, other = (AppSettings.model_validate({"env": {"KEY": f"hunter{n}"}, "command": ["x", "pw"]}) for n in (1, 2))
    assert content_hash("app", one) != content_hash("app", other)
    assert content_hash("app", one) == content_hash("app", one.model_copy())
    for text in (repr(one), str(one), one.model_dump_json(), str(one.model_dump())):
        assert "hunter" not in text
        assert "pw" not in text


def test_the_version_is_the_templates_name_unless_it_says_otherwise() -> None:
    assert launch(command=["{version}"]).argv == ("v2",)
    assert launch(command=["{version}"], version="2.0.1").argv == ("2.0.1",)


def test_without_a_command_the_example_application_is_run_at_its_place() -> None:
    argv = launch().argv
    for option, value in {
        "--host": "127.0.0.1",
        "--port": "21000",
        "--instance": "runtime-v2-3",
        "--version-label": "v2",
        "--shared": "/state/shared",
        "--lame-duck-file": "/state/instances/edge-v1-1/lame-duck",
    }.items():
        assert argv[argv.index(option) + 1] == value


def test_the_environment_is_what_the_template_says() -> None:
    assert launch(env={"DEBUG": "1"}).env == {"DEBUG": "1"}


# -- asking --------------------------------------------------------------------------------------------------------


URL = "GET http://127.0.0.1:21000/readyz"


@pytest.mark.parametrize("status", [503, 404, 302])
def test_only_200_is_ready(status: int) -> None:
    assert not not_ready(lambda _: httpx.Response(200))
    reason = not_ready(lambda _: httpx.Response(status, text="the database\n is away"))
    assert reason == f"{URL} answered {status} 'the database is away', and not 200"


def test_no_answer_is_not_ready() -> None:
    assert not_ready(silent) == f"{URL}: too slow"


def test_each_status_that_its_health_names_is_ready_and_no_other() -> None:
    assert not not_ready(lambda _: httpx.Response(204), status=[204, 401])
    assert not_ready(lambda _: httpx.Response(200), status=[204, 401]) == f"{URL} answered 200, and not 204 or 401"
    assert not not_ready(lambda _: httpx.Response(401), status=401)


def test_the_answer_must_contain_the_text_that_its_health_names_near_its_beginning() -> None:
    assert not not_ready(lambda _: httpx.Response(200, text="state: réady"), body="réady")
    for text, shown in (("still starting", "still starting"), (f"early {'x' * 8192} réady", "early")):
        answer = httpx.Response(200, text=text)
        reason = not_ready(partial(lambda answer, _: answer, answer), body="réady")
        assert reason == f"{URL} answered 200 {shown!r}, without the text of `health.body`"


def test_the_headers_that_its_health_names_are_sent_and_the_checks_can_be_told_by_their_agent() -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    assert not not_ready(answer, headers={"host": "shop.example", "X-Token": "hunter2"})
    assert not not_ready(answer, headers={"user-agent": "mine"})
    assert (seen[0]["host"], seen[0]["x-token"], seen[0]["user-agent"]) == ("shop.example", "hunter2", "changeover")
    assert seen[1].get_list("user-agent") == ["mine"]


def test_with_tcp_an_instance_that_accepts_connections_is_ready() -> None:
    tcp = Readiness(tcp=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = Address(*server.getsockname())
        asked = replace(CONTEXT.instance, address=at, control=at, readiness=tcp)
        assert not ask(lambda app: app.not_ready(asked, 2.0), silent)
    assert ask(lambda app: app.not_ready(asked, 2.0), silent) == f"a TCP connection to {at}: Connection refused"


def test_what_is_in_flight_is_what_it_says() -> None:
    uploads = [{"received": 10, "expected": 30, "seconds": 1.5}, {"received": 1, "expected": None, "seconds": 0.1}]
    answer = httpx.Response(200, json={"requests": 3, "connections": 4, "uploads": uploads})
    assert in_flight(answer) == InFlight(3, 4, (Upload(10, 30, 1.5), Upload(1, None, 0.1)))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, text="ok"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"connections": 0}),
        httpx.Response(200, json={"requests": None, "connections": 0, "uploads": []}),
        httpx.Response(200, json={"requests": 0, "connections": 0, "uploads": [{}]}),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.text}",
)
def test_an_answer_that_makes_no_sense_is_unknown_and_never_empty(answer: httpx.Response) -> None:
    answer.request = httpx.Request("GET", "http://127.0.0.1/inflight")
    with pytest.raises(Unknown) as unknown:
        in_flight(answer)
    expected = f"GET http://127.0.0.1:21000/inflight answered {answer.status_code} {answer.text!r}, and not 200 with"
    assert str(unknown.value) == f'runtime-v2-3: {expected} {{"requests": n}}'


def test_connections_and_uploads_need_not_be_counted() -> None:
    assert in_flight(httpx.Response(200, json={"requests": 2})) == InFlight(2, 0)


@pytest.mark.parametrize(
    ("template", "asked"),
    [
        ({}, ["/inflight"]),
        ({"in_flight": {"path": "/mine"}}, ["/mine"]),
        ({"command": ["server"]}, []),
        ({"command": ["server"], "in_flight": {"path": "/mine?all=1"}}, ["/mine?all=1"]),
    ],
)
def test_an_application_counts_where_its_template_says(template: dict[str, Any], asked: list[str]) -> None:
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"requests": 0})

    async def count(app: App) -> InFlight | None:
        app.learn({"v2": AppSettings.model_validate(template)})
        return await app.in_flight(CONTEXT.instance)

    assert ask(count, answer) == (InFlight(0, 0) if asked else None)
    assert paths == asked


def test_no_answer_is_unknown_and_never_empty() -> None:
    with pytest.raises(Unknown, match="/inflight: too slow"):
        ask(lambda app: app.in_flight(CONTEXT.instance), silent)


def test_files_that_a_template_names_must_exist(tmp_path: Path) -> None:
    app = App(Answered(answer=silent))
    given = {"cwd": "code", "command": ["./serve"], "env_file": "app.env", "secrets": {"KEY": {"file": "key"}}}
    settings = AppSettings.model_validate(given)
    missing = list(app.missing_files(settings, tmp_path))
    assert [one.partition(":")[0] for one in missing] == ["cwd", "command", "env_file", "secrets.KEY"]
    (tmp_path / "code").mkdir()
    for name in ("code/serve", "app.env", "key"):
        (tmp_path / name).touch(mode=0o755)
    assert list(app.missing_files(settings, tmp_path)) == []


def test_a_template_inherits_its_socket_only_where_it_says_so_and_only_with_a_command() -> None:
    assert not launch(command=["server"]).inherits
    assert launch(command=["server"], listen="inherited").inherits
    for listen in ("inherited", "unix"):
        with pytest.raises(ValidationError, match="needs a command"):
            AppSettings.model_validate({"listen": listen})


def test_a_unix_socket_lies_in_the_folder_of_the_instance_and_is_asked_for_in_the_command() -> None:
    at = launch(command=["server", "unix:{socket}"], listen="unix")
    assert at.argv == ("server", f"unix:{at.socket}")
    assert at.socket == f"{CONTEXT.instance.directory}/app.sock"
    assert not launch(command=["server"]).socket
    with pytest.raises(ValidationError, match=r"needs \{socket\}"):
        AppSettings.model_validate({"command": ["server"], "listen": "unix"})
    with pytest.raises(ValidationError, match="is asked over TCP"):
        AppSettings.model_validate({"command": ["{socket}"], "listen": "unix", "in_flight": {"path": "/n"}})


def test_readiness_at_a_unix_socket_is_asked_there(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    asked = replace(CONTEXT.instance, socket=path, readiness=Readiness("/up", body="yes"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).partition(b" HTTP")[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + (b"yes" if line == b"GET /up" else b"no!"))
        writer.close()

    async def answers() -> list[str]:
        app = App(DirectClient())
        before = [await app.not_ready(one, 2.0) for one in (asked, replace(asked, readiness=Readiness(tcp=True)))]
        async with await asyncio.start_unix_server(serve, path):
            right = await app.not_ready(asked, 2.0)
            tcp = await app.not_ready(replace(asked, readiness=Readiness(tcp=True)), 2.0)
            wrong = await app.not_ready(replace(asked, readiness=Readiness("/other", body="yes")), 2.0)
        return [*before, right, tcp, wrong]

    absent, closed, right, tcp, wrong = asyncio.run(answers())
    assert absent == f"GET /up at {path}: No such file or directory"
    assert closed == f"a connection to {path}: No such file or directory"
    assert (right, tcp) == ("", "")
    assert wrong.startswith(f"GET /other at {path} answered 200 'no!'")
