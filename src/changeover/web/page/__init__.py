"""The page of `changeover serve`: what a chain does, its rollouts, and the actions of the command line.

It reads and acts by the functions in `sources` alone. Refuses every action without the site's token: `web.access`.
"""
