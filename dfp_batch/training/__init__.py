"""How the weights of the package are made, from procedural scenes alone."""
