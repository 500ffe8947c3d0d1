"""Upload protocols as header fields: fields to meaning and back. Pure: no I/O, no clock."""
