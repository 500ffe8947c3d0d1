"""Upload protocols as header fields: from fields to values and back. Pure: no I/O, no clock."""
