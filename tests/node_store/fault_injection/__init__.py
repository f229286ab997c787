"""Faults in the middle of operations on a database, and counting what they left: shared by the tests and benchmarks/faults.py."""
