"""Loops in LLVM vector code, for operations that plain numba loops leave slow.

Importing these modules imports numba, so they are imported where they are first needed.
"""
