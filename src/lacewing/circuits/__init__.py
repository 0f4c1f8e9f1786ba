"""Circuits: as a value, ablation, pruning, edges, verification, comparison."""
