"""Tiny images need one thread."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def tiny_images(one_thread):
    """One thread for all tests here."""
