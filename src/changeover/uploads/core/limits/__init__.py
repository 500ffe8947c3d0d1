"""What limits uploads: sizes and ages, the number of unfinished ones, the rate."""
