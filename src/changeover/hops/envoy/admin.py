"""Envoy's admin interface: a Unix socket in the folder of the instance, which the operator alone can enter.

It can end Envoy and change what it does, and asks for no password: at a port any local user could reach it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from changeover.kit.http import ask, ask_socket
from changeover.model.instance import Instance

if TYPE_CHECKING:
    import httpx

    from changeover.kit.direct_http import DirectResponse
    from changeover.kit.http import Client

SOCKET = "admin.sock"


async def ask_admin(client: Client, method: str, instance: Instance, path: str) -> httpx.Response | DirectResponse:
    """The response, with any status. Raises NoResponse."""
    if instance.control.host.startswith("/"):  # an Envoy beside an agent
        socket = Path(instance.control.host)
        return await ask_socket(client, socket.parent, socket.name, method, path)
    if instance.directory and (Path(instance.directory) / SOCKET).exists():
        return await ask_socket(client, Path(instance.directory), SOCKET, method, path)
    # An Envoy that an earlier version started has its admin interface at the control address.
    return await ask(client, method, f"http://{instance.control}{path}")
