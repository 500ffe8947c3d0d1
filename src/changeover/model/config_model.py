"""What every part of a chain file has in common. Apart, since the parts are in several modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Headers = Mapping[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")],
    Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")],
]
"""HTTP headers, name to value. Any other character would break the quoting of some software's configuration."""


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
"""A name in a chain file: lower case, digits and dashes, as load balancers and file systems all accept."""


class ConfigModel(BaseModel):
    """Base of everything in a chain file: frozen, and an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
