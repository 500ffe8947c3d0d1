"""Traffic through the balancer of a fake: GETs one after the other, and slow uploads at all times."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter


class Traffic:
    """Runs while the block does. `upload_seconds`: how long the body of each upload takes."""

    def __init__(self, address: str, *, uploads: int = 3, upload_seconds: float = 2.0) -> None:
        host, port = address.split(":")
        self._host, self._port = host, int(port)
        self._seconds = upload_seconds
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._get)]
        self._threads += [threading.Thread(target=self._post) for _ in range(uploads)]
        self.outcomes: Counter[str] = Counter()
        self.lost: list[str] = []

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _get(self) -> None:
        while not self._ends.is_set():
            line = http.client.HTTPConnection(self._host, self._port, timeout=40)
            try:
                line.request("GET", "/")
                self._note("GET", str(line.getresponse().status))
            except OSError as error:
                self._note("GET", repr(error))
            except http.client.HTTPException as error:
                self._note("GET", repr(error))
            finally:
                line.close()
            self._ends.wait(0.02)

    def _post(self) -> None:
        while not self._ends.is_set():
            try:
                with socket.create_connection((self._host, self._port), timeout=20) as line:
                    line.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n")
                    for _ in range(20):
                        line.sendall(b"x" * 1000)
                        time.sleep(self._seconds / 20)  # the pace of a slow client
                    answer = b"".join(iter(lambda: line.recv(4096), b""))
                status, body = answer.split(b" ")[1].decode(), answer.rpartition(b"\r\n\r\n")[2]
                self._note("POST", status if body.strip() == b"20000" else f"{status} {body!r}")
            except (OSError, IndexError) as error:
                self._note("POST", repr(error))

    def _note(self, verb: str, outcome: str) -> None:
        self.outcomes[f"{verb} {outcome}"] += 1
        if outcome != "200":
            self.lost.append(f"{verb} {outcome}")
