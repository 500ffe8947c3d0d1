"""What a project does with findings: its settings, the comments that accept one, a baseline, and fixes."""
