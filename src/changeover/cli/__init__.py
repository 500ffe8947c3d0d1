"""The commands: one thin file each. They parse, call, and print; what they print is text, or with --json one object."""
