"""Sweeps: train and prune over widths, densities, activation densities and seeds; the frontier."""
