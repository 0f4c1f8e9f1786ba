"""Sparse autoencoders and transcoders: trained, measured, saved, and spliced in as nodes."""
