"""Options of the traffic that `probe` and `demo` send."""

from __future__ import annotations

from typing import Annotated

import typer

from changeover.cli.options.values import seconds, size

RateOption = Annotated[float, typer.Option(help="GETs per second, sent on schedule however long responses take.")]
ConnectionsOption = Annotated[int, typer.Option(help="Keep-alive connections for the GETs.")]
UploadsOption = Annotated[int, typer.Option(help="Uploads in flight at any time.")]
SizeOption = Annotated[float, typer.Option(parser=size, metavar="SIZE", help="Size of one upload.")]
TimeOption = Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="Time to send one upload.")]
