"""The same tasks in dense neurons, autoencoders' latents, bridges and a weight-sparse model."""
