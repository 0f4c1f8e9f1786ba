"""Finding circuits."""
