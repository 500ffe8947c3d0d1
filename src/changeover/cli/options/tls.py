"""TLS options of a client, and the settings that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from pydantic import ValidationError

from changeover.model.errors import fail
from changeover.model.probe import Tls

CaOption = Annotated[str, typer.Option("--ca", metavar="FILE", help="CA file that verifies the server's certificate.")]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Accept any certificate of the server.")]
ServerNameOption = Annotated[
    str,
    typer.Option(
        "--server-name", metavar="NAME", help="Name to request and verify, where it is not the host of the URL."
    ),
]
CertificateOption = Annotated[
    str, typer.Option("--cert", metavar="FILE", help="Certificate of the client, with the chain above it.")
]
KeyOption = Annotated[
    str, typer.Option("--key", metavar="FILE", help="Its private key. Default: in the file of the certificate.")
]


def tls_of(given: Mapping[str, object], base: Tls | None = None) -> Tls:
    """The settings with the given options in place of those of `base`. Raises ChangeoverError."""
    try:
        return Tls.model_validate(
            {**(base or Tls()).model_dump(), **{key: value for key, value in given.items() if value}}
        )
    except ValidationError as error:
        raise fail(f"TLS options: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
