"""The blur that made the sources: kernels, and one estimated from an image."""
