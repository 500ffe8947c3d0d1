"""Envoy's admin interface: a Unix socket in the folder of the instance, which the operator alone can enter.

It can end Envoy and change what it does, and asks for no password: at a port any local user could reach it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from changeover.model.instance import Instance

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectClient, DirectResponse

SOCKET = "admin.sock"


async def ask_admin(client: DirectClient, method: str, instance: Instance, path: str) -> DirectResponse:
    """The response, with any status. Raises NoResponse."""
    if instance.control.host.startswith("/"):  # an Envoy beside an agent
        return await client.request(method, f"http://localhost{path}", socket=instance.control.host)
    if instance.directory and (Path(instance.directory) / SOCKET).exists():
        return await client.request(method, f"http://localhost{path}", socket=f"{instance.directory}/{SOCKET}")
    # An Envoy that an earlier version started has its admin interface at the control address.
    return await client.request(method, f"http://{instance.control}{path}")
