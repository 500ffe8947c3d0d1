"""A `kong` for machines that have none: the double as an executable, strict about how it is called.

It knows the commands that the program uses, in the one form in which it uses them, and the settings that it needs. What
is missing, or not known, or contradicted by the environment, is an error, as it would be one that bites later.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from tests.kong.double import Node
from tests.kong.serving import ServedNode

NEEDED = {
    "prefix", "database", "declarative_config", "proxy_listen", "status_listen", "admin_listen", "admin_gui_listen",
    "nginx_daemon", "nginx_worker_processes", "nginx_main_worker_shutdown_timeout", "nginx_proxy_keepalive_time",
    "nginx_proxy_proxy_buffer_size", "nginx_proxy_proxy_buffers", "nginx_proxy_proxy_max_temp_file_size",
    "nginx_proxy_large_client_header_buffers", "nginx_admin_auth_basic", "nginx_admin_auth_basic_user_file",
    "nginx_proxy_keepalive_timeout", "nginx_proxy_keepalive_requests", "upstream_keepalive_idle_timeout", "plugins",
    "anonymous_reports", "log_level", "proxy_access_log", "admin_access_log", "status_access_log", "proxy_error_log",
    "admin_error_log", "status_error_log", "nginx_status_include", "request_debug", "allow_debug_header",
}  # fmt: skip
KNOWN = NEEDED | {"nginx_proxy_include", "nginx_user", "trusted_ips", "real_ip_header", "real_ip_recursive"}


def fail(why: str) -> NoReturn:
    print(f"Error: {why}", file=sys.stderr)
    raise SystemExit(1)


def read_conf(file: str) -> dict[str, str]:
    given = dict(line.split(" = ", 1) for line in Path(file).read_text(encoding="utf-8").splitlines())
    if missing := NEEDED - given.keys():
        fail(f"{file} lacks {sorted(missing)}")
    if unknown := given.keys() - KNOWN:
        fail(f"{file} has {sorted(unknown)}, which Kong does not know")
    for name, value in (("database", "off"), ("nginx_daemon", "off"), ("admin_gui_listen", "off")):
        if given[name] != value:
            fail(f"{name} is {given[name]}, and must be {value}")
    if not Path(given["prefix"]).is_absolute() or " " in given["prefix"]:
        fail(f"prefix {given['prefix']} cannot be used")
    return given


def pid_file(prefix: str) -> Path:
    return Path(prefix) / "pids" / "nginx.pid"


def running(prefix: str) -> int:
    """The process that runs there, or 0."""
    try:
        pid = int(pid_file(prefix).read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return 0
    return pid


def address(given: str) -> tuple[str, int]:
    host, _, port = given.split()[0].rpartition(":")
    return host, int(port)


async def serve(conf: dict[str, str]) -> None:
    node = Node(None, workers=int(conf["nginx_worker_processes"]))
    document = Path(conf["declarative_config"])
    if (answer := node.load(json.loads(document.read_text(encoding="utf-8")))).status != 201:
        fail(f"{document}: {answer.body}")
    contexts = [address(conf[f"{which}_listen"]) for which in ("admin", "status", "proxy")]
    hosts, ports = zip(*contexts, strict=True)
    kept = conf["nginx_proxy_keepalive_time"]
    served = ServedNode(node, ports=ports, hosts=hosts, keepalive_time=int(kept.removesuffix("ms")) / 1000)
    served.password = (
        Path(conf["nginx_admin_auth_basic_user_file"]).read_text(encoding="utf-8").strip().replace("{PLAIN}", "")
    )
    if "auth_basic $changeover_realm;" in Path(conf["nginx_status_include"]).read_text(encoding="utf-8"):
        served.status_password = served.password
    if (file := conf.get("nginx_proxy_include")) is not None:
        text = Path(file).read_text(encoding="utf-8")
        served.hidden = frozenset(re.findall(r"^location = (\S+) \{ return 404; \}$", text, re.MULTILINE))
        served.removed = frozenset(re.findall(r'\["(\S+)"\] = true', text))
    served.trusts = "trusted_ips" in conf
    over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def reload() -> None:
        node.load(json.loads(document.read_text(encoding="utf-8")))
        node.draining = False  # silently, as a real one

    def end(cut: bool) -> None:
        if not over.done():
            over.set_result(cut)

    for number, what in ((signal.SIGQUIT, lambda: end(False)), (signal.SIGTERM, lambda: end(True))):
        asyncio.get_running_loop().add_signal_handler(number, what)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    await served.open()
    pid_file(conf["prefix"]).parent.mkdir(exist_ok=True)
    pid_file(conf["prefix"]).write_text(str(os.getpid()))
    await served.close(cut=await over)
    pid_file(conf["prefix"]).unlink()


def quit(prefix: str, patience: float) -> None:
    pid = running(prefix)
    if not pid:
        fail(f"Kong is not running in {prefix}")
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + patience
    while running(prefix):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGTERM)
            print("Timeout, Kong stopped forcefully")
            return
        time.sleep(0.02)
    print("Kong stopped (gracefully)")


def main(*words: str) -> None:
    if stray := sorted(name for name in os.environ if name.startswith("KONG_")):
        fail(f"{stray} would win over the file")
    match words:
        case ("start", "--conf", conf, "--prefix", prefix):
            given = read_conf(conf)
            if given["prefix"] != prefix:
                fail(f"prefix {prefix} is not that of {conf}")
            if running(prefix):
                fail(f"Kong is already running in {prefix}")
            asyncio.run(serve(given))
        case ("quit", "--prefix", prefix, "--timeout", seconds) if int(seconds) > 0:
            quit(prefix, int(seconds))
        case ("stop", "--prefix", prefix):
            os.kill(running(prefix) or fail(f"Kong is not running in {prefix}"), signal.SIGTERM)
        case ("reload", "--conf", conf, "--prefix", prefix):
            read_conf(conf)
            os.kill(running(prefix) or fail(f"Kong is not running in {prefix}"), signal.SIGHUP)
        case ("config", "-c", conf, "parse", document):
            read_conf(conf)
            if (answer := Node(None).load(json.loads(Path(document).read_text(encoding="utf-8")))).status != 201:
                fail(f"Failed parsing: {answer.body}")
        case _:
            fail(f"kong is not to be called like that: {words}")


if __name__ == "__main__":
    main(*sys.argv[1:])
