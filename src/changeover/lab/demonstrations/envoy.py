"""ENV: Envoy."""

from __future__ import annotations

import re
from typing import Final

from changeover.audit.rules.proxy import env02
from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

ENVOY: Final = (Server(Kind.ENVOY, "envoy.yaml"),)
CONFIGURATION: Final = {
    "envoy.yaml": re.sub(r".*(request_timeout|idle_timeout).*\n", "", env02.RULE.good["envoy.yaml"])
}
"""For an example that is a unit alone."""

SHOWN: Final = (
    Demonstration(
        "ENV01",
        "Envoy is stopped as its unit does it while an upload and a download are in flight",
        ENVOY,
        Happening.STOP,
        traffic.long_in_flight,
        besides=CONFIGURATION,
    ),
    Demonstration(
        "ENV01",
        "Envoy is asked to drain, and stopped 10 s later, while an upload and a download are in flight",
        ENVOY,
        Happening.STOP,
        traffic.long_in_flight,
        scale=60,
        besides=CONFIGURATION,
        bad_files={
            "envoy.service": """\
[Service]
ExecStart=/usr/bin/envoy -c /etc/envoy/envoy.yaml
ExecStop=/bin/sh -c "curl -X POST http://127.0.0.1:9901/healthcheck/fail; sleep 10"
TimeoutStopSec=500
"""
        },
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
