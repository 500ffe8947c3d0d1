"""An audit in the formats that other programs read: SARIF 2.1.0 for code scanning, JUnit XML for test reports.

Refuses to turn an unknown into a pass: SARIF has `open` for it, JUnit `skipped`; an unreadable file is an error.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import PurePath
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from changeover.audit.audit import Audit, Judged
from changeover.audit.files import Loaded
from changeover.audit.finding import Outcome, Severity
from changeover.audit.handling.baseline import line_of
from changeover.audit.rule import Rule
from changeover.conf.place import Place, Unreadable

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LONGEST = 1024
"""Characters of a rule's description that code scanning accepts."""
_SEVERITIES = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "recommendation"}
"""As code scanning names them."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def sarif(found: Audit, loaded: Loaded, base: PurePath) -> str:
    """One run with the findings that are violated or unknown. Paths below `base` become relative to it."""
    shown = [one for one in found.judged if one.finding.outcome is not Outcome.MET]
    rules = {one.rule.id: one.rule for one in shown}
    order = list(rules)
    run = {
        "tool": {
            "driver": {
                "name": "changeover audit",
                "version": metadata.version("changeover"),
                "rules": [_rule(one) for one in rules.values()],
            }
        },
        "automationDetails": {"id": "changeover-audit/"},
        "invocations": [
            {
                "executionSuccessful": not loaded.unreadable,
                "toolExecutionNotifications": [_notification(one, base) for one in loaded.unreadable],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, order.index(one.rule.id), loaded.texts, base) for one in shown],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.what[:_LONGEST]},
        "fullDescription": {"text": rule.why[:_LONGEST]},
        "help": {"text": f"{rule.fix}\n\n" + "\n".join(rule.sources)},
        "helpUri": rule.sources[0],
        "defaultConfiguration": {"level": rule.severity.value},
        "properties": {"precision": "high", "problem.severity": _SEVERITIES[rule.severity], "tags": ["reliability"]},
    }


def _result(one: Judged, index: int, texts: Mapping[str, str], base: PurePath) -> dict[str, Any]:
    finding = one.finding
    unknown = finding.outcome is Outcome.UNKNOWN
    details = [finding.missing and f"Missing: {finding.missing}", finding.consequence, finding.fix]
    sentences = [f"{finding.object}: {finding.what}", *filter(None, details)]
    line = line_of(texts, finding.place)
    identity = "\0".join((one.rule.id, finding.object, line.strip()))
    result: dict[str, Any] = {
        "ruleId": one.rule.id,
        "ruleIndex": index,
        "kind": "open" if unknown else "fail",
        "level": "none" if unknown else one.rule.severity.value,
        "message": {"text": ". ".join(sentences)},
        "locations": [_location(finding.place, line, base)],
        "partialFingerprints": {"changeoverAudit/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
    if one.suppressed is not None:
        result["suppressions"] = [{"kind": "external" if one.outside else "inSource", "justification": one.suppressed}]
    return result


def _notification(one: Unreadable, base: PurePath) -> dict[str, Any]:
    return {"level": "error", "message": {"text": one.what}, "locations": [_location(one.place, "", base)]}


def _location(place: Place, line: str, base: PurePath) -> dict[str, Any]:
    path = PurePath(place.file)
    if path.is_absolute() and path.is_relative_to(base):
        path = path.relative_to(base)
    uri = ("file://" if path.is_absolute() else "") + quote(path.as_posix())
    column = place.column if place.line else 1
    region = {
        "startLine": max(place.line, 1),
        "startColumn": column,
        "endLine": max(place.line, 1),
        "endColumn": max(len(line) + 1, column),
    }
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def junit(found: Audit, loaded: Loaded) -> str:
    """A suite for each file, a case for each finding. What is violated fails, what is unknown is skipped."""
    cases: dict[str, list[ElementTree.Element]] = {}
    for one in found.judged:
        cases.setdefault(one.finding.place.file, []).append(_case(one))
    for broken in loaded.unreadable:
        case = _element("testcase", classname=broken.place.file, name="readable")
        case.append(_element("error", message=str(broken)))
        cases.setdefault(broken.place.file, []).append(case)
    root = _element(
        "testsuites", name="changeover audit", **_counts(case for suite in cases.values() for case in suite)
    )
    for file, suite in sorted(cases.items()):
        element = _element("testsuite", name=file, **_counts(suite))
        element.extend(suite)
        root.append(element)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(one: Judged) -> ElementTree.Element:
    finding = one.finding
    line = f"line {finding.place.line}: " if finding.place.line else ""
    case = _element("testcase", classname=finding.place.file, name=f"{one.rule.id} {finding.object}")
    if one.suppressed is not None:
        case.append(_element("skipped", message=f"{line}accepted: {one.suppressed}"))
    elif finding.outcome is Outcome.UNKNOWN:
        case.append(_element("skipped", message=f"{line}{finding.what}; missing: {finding.missing}"))
    elif finding.outcome is Outcome.VIOLATED:
        failure = _element("failure", type=one.rule.severity.value, message=f"{line}{finding.what}")
        failure.text = _text(f"{finding.consequence}\nfix: {finding.fix}")
        case.append(failure)
    return case


def _counts(cases: Iterable[ElementTree.Element]) -> dict[str, str]:
    tags = [case[0].tag if len(case) else "" for case in cases]
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(tags)), **{name: str(tags.count(tag)) for name, tag in kinds.items()}}


def _element(tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(tag, {key: _text(value) for key, value in attributes.items()})


def _text(value: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", value)
