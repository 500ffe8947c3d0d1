"""The preconditions of a roll on Google Cloud, as checks over what was read. Pure: the command reads and prints."""
