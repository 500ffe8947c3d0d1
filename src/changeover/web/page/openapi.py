"""The OpenAPI description of the page's HTTP API. A test validates it, and holds it against the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OBJECT = {"type": "object"}


def _response(what: str, kind: str = "application/json", schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"description": what, "content": {kind: {"schema": dict(schema or _OBJECT)}}}


_ERROR = {"schema": {"$ref": "#/components/schemas/Error"}}
_CHAIN = {"name": "chain", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
_LANG = {"name": "lang", "in": "query", "schema": {"type": "string", "enum": ["en", "zh"]}}
_ROLLOUT = {"name": "rollout", "required": True, "in": "path", "schema": {"type": "integer", "minimum": 1}}
_MISSING = {
    "404": {"description": "There is no such chain, rollout or action.", "content": {"application/json": _ERROR}}
}
_REFUSED = {
    **_MISSING,
    "401": {"description": "The token is missing or wrong."},
    "403": {"description": "The server is read-only, or the request comes from another origin."},
    "413": {"description": "The body is too long."},
    "409": {
        "description": "The program could not do it; nothing was changed unless the error says so.",
        "content": {"application/json": _ERROR},
    },
    "415": {"description": "The body is not application/json.", "content": {"application/json": _ERROR}},
    "422": {
        "description": "The tier, template, plan or rollout is not one of this chain.",
        "content": {"application/json": _ERROR},
    },
}


def _get(summary: str, parameters: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    failed = {**_MISSING, "409": _REFUSED["409"]} if parameters else {}
    return {"get": {"summary": summary, "parameters": parameters, "responses": {"200": response, **failed}}}


def _post(
    summary: str, parameters: list[dict[str, Any]], body: Mapping[str, Any], response: dict[str, Any]
) -> dict[str, Any]:
    accepted = {"202": _response("The command works on, as process `pid`.")}
    return {
        "post": {
            "summary": summary,
            "parameters": parameters,
            "security": [{"token": []}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": dict(body)}}},
            "responses": {"200": response, **accepted, **_REFUSED},
        }
    }


def _words(**properties: str) -> dict[str, Any]:
    return {"type": "object", "properties": {n: {"type": "string", "description": d} for n, d in properties.items()}}


DOCUMENT: Mapping[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "changeover serve", "version": "1", "description": "What the page of a chain reads and does."},
    "paths": {
        "/api/openapi.json": _get("This description.", [], _response("OpenAPI 3.1.")),
        "/api/chains": _get(
            "The chains of this site: number, name, state, tier in question.", [], _response("A list in `chains`.")
        ),
        "/api/chains/{chain}": _get(
            "One chain: tiers, instances, what its rollout waits for, actions, history.",
            [_CHAIN],
            _response("The chain."),
        ),
        "/api/chains/{chain}/rollouts/{rollout}": _get(
            "One rollout: phases of its instances over time, samples of its guards, and what broke requests.",
            [_CHAIN, _ROLLOUT],
            _response("The rollout; times in seconds since it began."),
        ),
        "/api/chains/{chain}/events": _get(
            "Server-sent events: regions of the page, as HTML, whenever one changes. A client that sends Last-Event-ID "
            "gets what has changed since.",
            [_CHAIN, _LANG, {**_ROLLOUT, "in": "query", "required": False}],
            _response(
                "A stream without an end. Event `regions`: an object, region -> HTML.",
                "text/event-stream",
                {"type": "string"},
            ),
        ),
        "/api/chains/{chain}/plan": _post(
            "What a roll would do. It changes nothing but the plan that it stores.",
            [_CHAIN, _LANG],
            _words(tier="Tier to roll.", to="Its new template."),
            _response("The plan: `id`, `sentences`, and `plan` as `changeover plan --json` prints it."),
        ),
        "/api/chains/{chain}/actions/{action}": _post(
            "Act as the command of that name does.",
            [
                _CHAIN,
                {
                    "name": "action",
                    "in": "path",
                    "required": True,
                    "schema": {
                        "type": "string",
                        "enum": ["pause", "resume", "promote", "promote-full", "abort", "undo", "retry", "roll"],
                    },
                },
            ],
            _words(tier="The tier; `resume` and `roll` need none.", plan="Of `roll`: id of the plan."),
            _response("What the command prints with --json, and its `exit_code`."),
        ),
    },
    "components": {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        "schemas": {
            "Error": {
                "type": "object",
                "required": ["error", "exit_code"],
                "properties": {
                    "exit_code": {"type": "integer"},
                    "error": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {name: {"type": "string"} for name in ("what", "where", "state", "next")},
                        },
                    },
                },
            }
        },
    },
}
