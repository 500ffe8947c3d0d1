"""HTTP/1.1 messages: heads, chunks and the PROXY header. Pure: no I/O, no clock."""
