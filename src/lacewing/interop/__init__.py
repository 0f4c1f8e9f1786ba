"""Doors: models, tokenizers and circuits of others in, ours out."""
