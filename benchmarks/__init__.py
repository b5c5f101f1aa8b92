"""Benchmarks: figures against what DESIGN says must hold, each beside a peer or a limit of the same run."""
