"""Registration and exposure of the frames of a stack."""
