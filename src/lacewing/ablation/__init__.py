"""Running a model with parts replaced."""
