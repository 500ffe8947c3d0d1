"""NGX15: the number of workers may change at a reload with reuseport."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import Nginx
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx.reader import place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Nginx):
        workers = hop.main.find("worker_processes")
        for server in hop.block.inner("server"):
            for listen in server.own("listen"):
                if "reuseport" not in listen.values:
                    continue
                name = f"listen {listen.values[0]}"
                if workers is None and hop.main.conf.fragment:
                    yield unknown(place(listen), name, str(listen), "the main file, which sets worker_processes")
                elif workers is None or "auto" not in workers.values:
                    yield met(place(listen), name, str(workers or "worker_processes is not set, so it is 1"))
                else:
                    yield violated(
                        place(listen),
                        name,
                        f"{listen}, and {workers} follows the number of processors of the machine",
                        get=Effect.ERROR,
                        post=Effect.ERROR,
                        consequence="a reload after the number of processors has shrunk resets new connections, of a "
                        "GET or a POST, that wait for a worker",
                        fix="worker_processes with a number; or sysctl net.ipv4.tcp_migrate_req=1",
                    )


RULE = Rule(
    id="NGX15",
    name="nginx-reuseport-workers",
    severity=Severity.WARNING,
    what="`listen … reuseport` with a number of workers that may change.",
    why="With `reuseport` each worker has its own queue of new connections. A reload with fewer workers closes "
    "some of these queues, and the kernel resets what waits there, unless `net.ipv4.tcp_migrate_req` is 1.",
    sources=(
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#reuseport",
        "https://docs.kernel.org/networking/ip-sysctl.html",
    ),
    bad={
        "nginx.conf": """\
worker_processes auto;
events {}
http {
    server {
        # expect: NGX15
        listen 8080 reuseport;
        location / { proxy_pass http://127.0.0.1:9000; }
    }
}
""",
    },
    good={
        "nginx.conf": """\
worker_processes 4;
events {}
http {
    server {
        listen 8080 reuseport;
        location / { proxy_pass http://127.0.0.1:9000; }
    }
}
""",
    },
    fix="Fix the number of workers, or set `net.ipv4.tcp_migrate_req=1`.",
    check=check,
    lab="it needs a machine whose number of processors changes",
)
