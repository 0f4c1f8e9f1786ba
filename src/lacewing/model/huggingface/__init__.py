"""Models of Hugging Face, wrapped in place: transformers runs them, lacewing only looks and edits."""
