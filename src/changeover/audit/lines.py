"""How the language of a file writes another time for a setting: the text of a fix.

Pure. Refuses settings that no single line sets, such as those of an upstream that nginx makes by itself.
"""

from __future__ import annotations

import re

from changeover.audit.setting import Setting
from changeover.audit.starts import SERVERS
from changeover.conf.kong import KongValue

_WRITTEN = re.compile(r"(timeout [\w-]+|-{0,2}[\w.-]+)(?: is not set|(\s*[=:]\s*|\s+)(?!of the)\S)")


def line(setting: Setting[float], software: str, seconds: float) -> str:
    """Empty where no single line sets it. `setting` has its key first, as a report quotes it."""
    found = _WRITTEN.match(setting.text)
    if found is None or software == "granian":  # its idle time has no option
        return ""
    key, between = found[1], found[2] or ""
    time = f"{seconds:.0f}"
    if software == "nginx":
        return f"{key} {time}s;"
    if software == "haproxy":
        return f"{key} {time}s"
    if software == "envoy":
        return f"{key}: {time}s"
    if software == "kong":
        value = f"{time}s" if "nginx_" in key.lower() else time
        return f"{key}{between}{value}" if between else kong_line(key, None, setting.place.file, value)
    if software in SERVERS:
        return f"{key} {time}" if key.startswith("-") else f"{key} = {time}"
    return ""


def kong_line(key: str, given: KongValue | None, file: str, value: str) -> str:
    """A setting of Kong: as it is `given`, else as a variable where a compose file or a manifest starts Kong."""
    if given is not None:
        return given.text[: given.text.rindex(given.value)] + value
    return f"KONG_{key.upper()}: {value}" if file.endswith((".yml", ".yaml")) else f"{key} = {value}"
