"""What one instance of the example application needs to know. Apart from the server, which is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AppConfig:
    """One instance of the application. It is in lame duck for as long as `lame_duck_file` exists."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free one; the start line on stderr names it."""
    instance: str = "app"
    version: str = "v0"
    shared: Path = Path("shared")
    """Folder for uploads, the same one for all instances."""
    lame_duck_file: Path = Path("lame-duck")
