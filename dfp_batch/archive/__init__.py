"""What a tree of files holds: which images belong together, and what does not belong to any."""
