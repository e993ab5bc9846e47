"""ND2, CZI and LIF, each read by the library of its format: an extra of this package."""
