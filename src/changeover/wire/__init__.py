"""Upload protocols on the wire: header fields to meaning and back. Pure: no I/O, no clock."""
