"""Natural edits that keep the right answer right, to attack a model with what its circuit says."""
