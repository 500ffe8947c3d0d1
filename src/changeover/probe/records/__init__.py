"""The rows of a run: what one holds, the file of all of them, and their running sums."""
