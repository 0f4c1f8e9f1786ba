"""Training: the configuration, the density anneal, the optimizer step, the loop, twins."""
