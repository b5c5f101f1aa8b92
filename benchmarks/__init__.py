"""Benchmarks: figures beside a limit that must hold, or beside a peer of the same run."""
