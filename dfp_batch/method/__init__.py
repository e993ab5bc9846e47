"""The method: pure functions of tensors. No Ray, no files, no printing, no clock, no global RNG."""
