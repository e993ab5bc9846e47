"""Refinements: a decision that follows the content of the sources."""
