"""The release of openai/circuit_sparsity; not yet tried on a released checkpoint."""
