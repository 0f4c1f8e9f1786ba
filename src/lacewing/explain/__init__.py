"""What each node means: found without a language model, scored on unseen text, then tested."""
