"""The HTTP side of a chain, as `changeover serve` offers it: reads state folders, and never holds a lease by itself."""
