"""Fuzzing of what reads requests: see `__main__.py`."""
