"""The contract of every message: the discovery document of the Compute API in google-api-python-client.

It knows paths, parameters, fields, types and enums. It does not know which fields belong together, nor when a call is
allowed: `resources/rules.py` does.
"""

from __future__ import annotations

import base64
import binascii
import importlib.resources
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.gcp.fake.wire.errors import Json

PATH = "discovery_cache/documents/compute.v1.json"


@dataclass(frozen=True)
class Call:
    method: str
    """Such as `regionInstanceGroupManagers.get`."""
    args: Mapping[str, str]
    """Parameters in the path."""
    spec: Json
    """The method in the discovery document."""


class Discovery:
    def __init__(self) -> None:
        text = importlib.resources.files("googleapiclient").joinpath(PATH).read_text(encoding="utf-8")
        self._document: Json = json.loads(text)
        self._schemas: dict[str, Json] = self._document["schemas"]
        self._routes: dict[tuple[str, int], list[tuple[list[str], str, Json]]] = defaultdict(list)
        for resource, its in self._document["resources"].items():
            for name, spec in its.get("methods", {}).items():
                segments = spec["path"].split("/")
                self._routes[spec["httpMethod"], len(segments)].append((segments, f"{resource}.{name}", spec))

    def match(self, verb: str, path: str) -> Call | None:
        """The method of a path such as `projects/p/zones`. A path without parameters wins over one with."""
        segments = path.split("/")
        found = [
            Call(method, args, spec)
            for template, method, spec in self._routes[verb, len(segments)]
            if (args := _args(template, segments)) is not None
        ]
        return min(found, key=lambda call: len(call.args), default=None)

    def request_problems(self, call: Call, query: Sequence[tuple[str, str]], body: Any) -> list[str]:
        """What is wrong with a request; `body` is None where there is none."""
        return [*self._parameters(call, query), *self._body(call, body)]

    def response_problems(self, call: Call, body: Any) -> list[str]:
        reference = call.spec.get("response")
        return list(self._value(reference, body, "response", "")) if reference else []

    def _parameters(self, call: Call, query: Sequence[tuple[str, str]]) -> Iterator[str]:
        known: dict[str, Json] = call.spec["parameters"]
        given = defaultdict(list)
        for name, value in [*call.args.items(), *query]:
            given[name].append(value)
        for name, values in given.items():
            spec = known.get(name) or self._document["parameters"].get(name) or UNLISTED.get(name)
            if spec is None:
                yield f"parameter {name}: unknown"
                continue
            if len(values) > 1 and not spec.get("repeated"):
                yield f"parameter {name}: given {len(values)} times"
            for value in values:
                yield from _text_problems(spec, value, f"parameter {name}")
        yield from (
            f"parameter {name}: missing" for name, s in known.items() if s.get("required") and name not in given
        )

    def _body(self, call: Call, body: Any) -> Iterator[str]:
        reference = call.spec.get("request")
        if reference is None:
            if body not in (None, {}):
                yield f"body: {call.method} takes none"
        elif body is None:
            yield "body: missing"
        else:
            yield from self._value(reference, body, "body", f"compute.{call.method}")

    def _value(self, schema: Json, value: Any, at: str, required_by: str) -> Iterator[str]:
        """`required_by`: the method whose required fields must be there; empty for a response."""
        schema = self._schemas[schema["$ref"]] if "$ref" in schema else schema
        kind = schema["type"]
        if kind == "any":
            return
        if not _is(kind, value):
            yield f"{at}: {type(value).__name__} is no {kind}"
        elif kind == "object":
            yield from self._object(schema, value, at, required_by)
        elif kind == "array":
            for number, item in enumerate(value):
                yield from self._value(schema["items"], item, f"{at}[{number}]", required_by)
        elif kind == "string":
            yield from _text_problems(schema, value, at)
        elif schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
            yield f"{at}: {value} is no int32"

    def _object(self, schema: Json, value: Json, at: str, required_by: str) -> Iterator[str]:
        properties: dict[str, Json] = schema.get("properties", {})
        for name, item in value.items():
            if (inner := properties.get(name) or schema.get("additionalProperties")) is None:
                yield f"{at}.{name}: unknown field"
            else:
                yield from self._value(inner, item, f"{at}.{name}", required_by)
        if required_by:
            for name, inner in properties.items():
                if name not in value and required_by in inner.get("annotations", {}).get("required", []):
                    yield f"{at}.{name}: required"


UNLISTED: Mapping[str, Json] = {"returnPartialSuccess": {"type": "boolean"}}
"""Parameters that the document names in descriptions of methods and does not list: "Google recommends that you set the
`returnPartialSuccess` parameter to `true`"."""

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _args(template: list[str], segments: list[str]) -> dict[str, str] | None:
    args = {}
    for part, segment in zip(template, segments, strict=True):
        if part.startswith("{") and segment:
            args[part.strip("{}+")] = segment
        elif part != segment:
            return None
    return args


def _text_problems(spec: Json, value: str, at: str) -> Iterator[str]:
    """Problems of what is text on the wire: a parameter, or a string in a body."""
    if "enum" in spec and value not in spec["enum"]:
        yield f"{at}: {value!r} is none of {', '.join(spec['enum'])}"
    if "pattern" in spec and not re.fullmatch(spec["pattern"], value):
        yield f"{at}: {value!r} does not match {spec['pattern']}"
    if spec["type"] == "integer" or spec.get("format") in {"int64", "uint64"}:
        if not re.fullmatch(r"-?[0-9]+", value):
            yield f"{at}: {value!r} is no integer"
    elif spec["type"] == "boolean" and value.lower() not in {"true", "false"}:
        yield f"{at}: {value!r} is no boolean"
    elif spec.get("format") == "byte":
        try:
            base64.b64decode(value, altchars=b"-_", validate=True)
        except binascii.Error:
            yield f"{at}: {value!r} is no base64"
