"""Bridges: a dense model coupled to a weight-sparse one, and steered through it."""
