"""Limits of uploads: sizes and ages, the number of unfinished uploads, the rate."""
