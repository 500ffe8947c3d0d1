"""What `changeover audit --table` does: read the files, and show one replacement of each tier that they describe."""

from __future__ import annotations

from pathlib import Path

from changeover.audit.audit import audit
from changeover.audit.files import load
from changeover.audit.timeline import timeline
from changeover.cli import exits
from changeover.cli.audited import Request
from changeover.cli.options import audit as settings
from changeover.cli.rendering import timeline as rendering
from changeover.cli.rendering import timeline_page
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail


def tabulate(output: Output, asked: Request, html: Path | None) -> int:
    """`html`: where the page goes, if anywhere."""
    if not asked.files:
        raise fail("no file is given", next="Name the files or folders that hold the configuration.")
    configured = settings.configured(asked.config)
    assumed = settings.assumptions(asked.upload, asked.client_rate, asked.assume, configured)
    loaded = load(asked.files)
    found = audit(loaded.documents, assumed, loaded.texts, settings.order(asked.chain, configured, loaded), rules=())
    table = timeline(found.view, assumed)
    if html is not None and table.tiers:
        settings.write("--html", html, timeline_page.page(table, assumed))
    output.result(rendering.data(table, assumed, loaded), rendering.text(table, assumed, loaded))
    if not loaded.unreadable and not table.tiers:
        raise fail("these files describe no tier", next="docs/audit.md lists the kinds of files that are read.")
    return exits.COULD_NOT if loaded.unreadable else exits.DONE
