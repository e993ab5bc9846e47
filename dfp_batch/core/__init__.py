"""What the steps of the method share: their contracts, decisions, images, D, pyramids, tiles."""
