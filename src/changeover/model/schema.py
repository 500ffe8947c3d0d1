"""The JSON Schema of a chain file, with the templates of every kind of tier, and of other files. `changeover schema`
prints them."""

from __future__ import annotations

from typing import Any

from changeover.model.chain import Chain
from changeover.model.config_model import ConfigModel
from changeover.model.hop_traits import KnownHops
from changeover.model.platform import InstanceTemplate

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ON_GOOGLE_CLOUD = "group"
"""The key that every tier on Google Cloud has, and no other."""


def chain_schema(hops: KnownHops) -> dict[str, Any]:
    """JSON Schema (2020-12): a tier's `kind` decides what its `templates` may contain."""
    whole = Chain.model_json_schema(mode="validation")
    definitions = whole["$defs"]
    definitions[InstanceTemplate.__name__] = InstanceTemplate.model_json_schema(mode="validation")
    cases = []
    for kind, traits in sorted(hops.items()):
        own = traits.settings.model_json_schema(mode="validation")
        definitions.update(own.pop("$defs", {}))
        name = traits.settings.__name__
        definitions[name] = own
        here = {"properties": {"kind": {"const": kind}}, "not": {"required": [_ON_GOOGLE_CLOUD]}}
        cases.append({"if": here, "then": _templates(name)})
    routers = {traits.external_router for traits in hops.values() if traits.external_router is not None}
    choices = []
    for router in sorted(routers, key=lambda router: router.__name__):
        own = router.model_json_schema(mode="validation")
        definitions.update(own.pop("$defs", {}))
        definitions[router.__name__] = own
        choices.append({"$ref": f"#/$defs/{router.__name__}"})
    definitions["Tier"]["properties"]["router"]["anyOf"] = [*choices, {"type": "null"}]
    definitions["Tier"]["properties"]["kind"]["enum"] = sorted(hops)
    definitions["Tier"]["allOf"] = cases
    definitions["Tier"]["dependentSchemas"] = {_ON_GOOGLE_CLOUD: _templates(InstanceTemplate.__name__)}
    return {"$schema": DIALECT, **whole}


def _templates(schema: str) -> dict[str, Any]:
    return {"properties": {"templates": {"additionalProperties": {"$ref": f"#/$defs/{schema}"}}}}


def schema_of(kind: type[ConfigModel]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a file that holds one such model."""
    return {"$schema": DIALECT, **kind.model_json_schema(mode="validation")}
