"""The release of openai/circuit_sparsity: models, tokenizer, circuits. Not yet tried on a real one."""
