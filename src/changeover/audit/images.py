"""Images of known software and the signal that stops them; names of signals as files write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from changeover.conf.compose import ComposeFile
from changeover.conf.dockerfile import DockerFile
from changeover.conf.document import Document
from changeover.conf.kubernetes import KubernetesFile
from changeover.conf.tree import Map

_SOFTWARE = {
    "nginx": "nginx",
    "nginx-unprivileged": "nginx",
    "openresty": "nginx",
    "kong": "kong",
    "kong-gateway": "kong",
    "haproxy": "haproxy",
    "haproxy-alpine": "haproxy",
    "haproxy-debian": "haproxy",
    "haproxy-ubuntu": "haproxy",
    "envoy": "envoy",
    "envoy-dev": "envoy",
    "envoy-alpine": "envoy",
    "envoy-debug": "envoy",
    "envoy-distroless": "envoy",
    "envoy-contrib": "envoy",
    "envoy-contrib-dev": "envoy",
}
_SIGNALS = {"nginx": "QUIT", "kong": "QUIT", "haproxy": "USR1", "envoy": "TERM"}
"""STOPSIGNAL of the images that the makers of the software publish."""
_QUIT_SINCE = (1, 19, 5)
"""Before, the image of nginx sets SIGTERM, apart from 1.18, which was built anew (nginx/docker-nginx, pull 457)."""
_NO_HTTP = {
    *("redis", "redis-cluster", "redis-sentinel", "valkey", "memcached", "rabbitmq", "nats", "eclipse-mosquitto"),
    *("postgres", "postgresql", "postgis", "timescaledb", "pgbouncer", "mysql", "mariadb", "percona", "mongo"),
    *("mongodb", "cassandra", "zookeeper", "kafka", "cp-kafka", "cp-zookeeper"),
}
"""Names of images of databases, queues and caches, which serve no HTTP requests."""
_DEFAULT = re.compile(r"\$\{\w+:?-([^{}]*)\}")
_MAKERS = {"library", "nginxinc", "openresty", "kong", "haproxytech", "envoyproxy"}
_LAST = {19: 10, 21: 6, 23: 4, 25: 5, 27: 5}
"""The last release of mainline branches of nginx, which the tag `1.27` is. No rule asks for that of another branch."""
_NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}


def official(image: str) -> tuple[str, str | None] | None:
    """Software and signal of `docker.io/library/nginx:1.27 AS x`; None for an image that is not known.

    The signal is None for an image of another maker: it may set none, and the software gets SIGTERM.
    """
    words = _DEFAULT.sub(r"\1", image).split()
    if not words:
        return None
    whole = words[-3] if " as " in image.lower() else words[-1]
    *path, name = whole.partition("@")[0].split("/")
    software = _SOFTWARE.get(name.partition(":")[0])
    if software is None:
        return None
    maker = next((one for one in path[-1:] if not re.search(r"[.:]|^localhost$", one)), "library")
    if maker not in _MAKERS:
        return software, None
    tag = _nginx_tag(whole) or _QUIT_SINCE
    return software, "TERM" if tag < _QUIT_SINCE and tag[:2] != (1, 18) else _SIGNALS[software]


def serves_no_http(image: str) -> bool:
    """Whether an image is that of a database, a queue or a cache."""
    return image.split("@")[0].rsplit("/", 1)[-1].partition(":")[0] in _NO_HTTP


def nginx_version(documents: Sequence[Document]) -> tuple[int, ...] | None:
    """The version that the tags of every image of nginx name; None if they name none, or several."""
    found = {_nginx_tag(one) for one in _images(documents) if (known := official(one)) and known[0] == "nginx"}
    return found.pop() if len(found) == 1 else None


def _images(documents: Sequence[Document]) -> Iterator[str]:
    for one in documents:
        match one:
            case ComposeFile():
                yield from (each.text("image") or "" for each in one.services.items.values() if isinstance(each, Map))
            case DockerFile():
                yield next((each.value for each in one.last_stage if each.name == "FROM"), "")
            case KubernetesFile():
                yield from (each.text("image") or "" for pod in one.pods for each in pod.spec.maps("containers"))


def _nginx_tag(image: str) -> tuple[int, ...] | None:
    """Of `nginx:1.26-alpine`; None for a tag that moves, such as `stable`, and for images of OpenResty."""
    found = re.search(r"(?:^|/)nginx(?:-unprivileged)?:1\.(\d+)(?:\.(\d+))?(?=[-@\s]|$)", image)
    if found is None:
        return None
    minor, patch = int(found[1]), found[2]
    if patch is not None:
        return 1, minor, int(patch)
    if minor % 2 == 0 or minor < min(_LAST):
        return 1, minor
    return (1, minor, _LAST[minor]) if minor in _LAST else None


def bare_signal(signal: str) -> str:
    """`SIGQUIT`, `3` -> `QUIT`."""
    bare = signal.strip().strip("\"'").upper().removeprefix("SIG")
    return _NUMBERS.get(bare, bare)
