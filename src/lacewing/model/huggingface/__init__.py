"""Models of Hugging Face, wrapped in place: transformers runs them, lacewing looks and edits."""
