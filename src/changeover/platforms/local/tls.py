"""A certificate authority for this chain alone, and the edge's certificate. Refuses to be used beyond one machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

from changeover.kit.files import write_whole

NAMES = ("localhost", "127.0.0.1", "::1")


def ensure(folder: Path) -> Path:
    """Write `edge.pem`, `edge.key` and `ca.pem` where they are missing; return the CA file, which clients trust."""
    ca_file = folder / "ca.pem"
    if not ca_file.exists():
        import trustme  # here: it loads a cryptography library, and a chain that runs has its certificate

        authority = trustme.CA(organization_name="changeover local chain")
        leaf = authority.issue_cert(*NAMES)
        chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
        write_whole(folder / "edge.key", leaf.private_key_pem.bytes().decode(), mode=0o600)
        write_whole(folder / "edge.pem", chain)
        write_whole(ca_file, authority.cert_pem.bytes().decode())  # last: its presence says that all are there
    # HAProxy looks for a key that is not in the file of the certificate under this name.
    with contextlib.suppress(FileExistsError):
        (folder / "edge.pem.key").symlink_to("edge.key")
    return ca_file
