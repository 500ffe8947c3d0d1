"""Options of the traffic that `probe` and `demo` send."""

from __future__ import annotations

from typing import Annotated

import typer

from changeover.cli.options.values import seconds, size

RateOption = Annotated[float, typer.Option(help="GETs per second, sent on schedule whatever the answers do.")]
ConnectionsOption = Annotated[int, typer.Option(help="Keep-alive connections that share the GETs.")]
UploadsOption = Annotated[int, typer.Option(help="Uploads at any moment.")]
SizeOption = Annotated[float, typer.Option(parser=size, metavar="SIZE", help="Bytes of one upload.")]
TimeOption = Annotated[
    float, typer.Option(parser=seconds, metavar="TIME", help="How long the body of one upload takes.")
]
