"""Checks of the native ring beyond the test suite: `make verify-native`, `python -m native.verify`."""
