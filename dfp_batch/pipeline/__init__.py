"""The method from end to end."""
