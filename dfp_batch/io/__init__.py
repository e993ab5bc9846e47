"""Bytes and places: codecs between files and pixels, and the store that files are in."""
