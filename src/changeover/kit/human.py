"""Numbers as people read them: `52.4 MB`, `1m30s`. Imports nothing, so that small processes can use it."""

from __future__ import annotations


def human_seconds(value: float) -> str:
    """90 -> `1m30s`; 0.25 -> `250ms`; what a chain file takes as a time."""
    if value < 1:
        return f"{value * 1000:g}ms" if value else "0s"
    minutes, seconds = divmod(value, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    return text + (f"{seconds:g}s" if seconds or not text else "")


def human_bytes(value: float) -> str:
    """52428800 -> `52.4 MB`, in powers of ten like the sizes in a chain file."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
