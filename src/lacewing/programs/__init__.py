"""Circuits written out as standalone NumPy: what varies is compiled, named and printed."""
