"""Watching mechanisms: are they still those that were verified?"""
