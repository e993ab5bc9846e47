"""Merges: from N sources and a decision to one image at their size."""
