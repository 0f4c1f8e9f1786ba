"""What each node means: found without a language model, scored on held-out text, tested causally."""
