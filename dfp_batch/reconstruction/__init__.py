"""Reconstructions: from merged sources to the enlarged image."""
