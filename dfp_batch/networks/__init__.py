"""Networks, how they are fitted, and their weights."""
