"""The example application's traffic, with changes: what tests of the probe send."""

from __future__ import annotations

from typing import Any

from changeover.model.probe import Tls
from changeover.probe.example import EXAMPLE
from changeover.probe.traffic_plan import TrafficPlan


def example_plan(url: str, **changes: Any) -> TrafficPlan:
    """`uploads`, `upload_size`, `upload_seconds` and `ca_file` change the upload and the TLS settings, the rest the
    traffic; `rate` 0 and `uploads` 0 send none."""
    (post,) = EXAMPLE.post
    tls = Tls(ca=str(changes.pop("ca_file", None) or ""))
    names = {"uploads": "concurrent", "upload_size": "body", "upload_seconds": "time"}
    own = {names[key]: changes.pop(key) for key in names if key in changes}
    if changes.get("rate") == 0:
        del changes["rate"]
        changes["get"] = ()
    changes.setdefault("post", (post.model_copy(update=own),) if own.get("concurrent") != 0 else ())
    return TrafficPlan(url, EXAMPLE.model_copy(update=changes), tls)
