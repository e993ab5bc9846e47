"""Focus measures: from N sources to a decision."""
