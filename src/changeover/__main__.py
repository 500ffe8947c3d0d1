"""`python -m changeover` is the command `changeover`."""

from changeover.cli.main import main

main()
