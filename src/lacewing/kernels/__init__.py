"""The hot operations, one file each: a plain reference, a fast version, one function for both."""
