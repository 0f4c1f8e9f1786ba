"""An attacker of the program: mutated files and flags, kills, a crowd of clients.

Run whole by `make campaign`, a seeded part of it by the tests here; `table` lists what is attacked.
"""
