"""ENV: Envoy."""

from __future__ import annotations

from typing import Final

from changeover.audit.rules.proxy import env02
from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

ENVOY: Final = (Server(Kind.ENVOY, "envoy.yaml"),)
CONFIGURATION: Final = {"envoy.yaml": env02.RULE.good["envoy.yaml"]}
"""For an example that is a unit alone."""

SHOWN: Final = (
    Demonstration(
        "ENV01",
        "Envoy is stopped as its unit does it while an upload and a download are in flight",
        ENVOY,
        Happening.STOP,
        traffic.slow_in_flight,
        besides=CONFIGURATION,
    ),
    Demonstration(
        "ENV02",
        "an upload is as slow and the application as silent as assumed",
        ENVOY,
        Happening.NOTHING,
        traffic.slow_in_flight,
    ),
    Demonstration("ENV03", "an upload of 50 MB is sent at once", ENVOY, Happening.NOTHING, traffic.whole_upload),
)
