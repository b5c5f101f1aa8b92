"""Runs a history through the real manager on a virtual clock, and says what preloading was worth.

Submodules: `clock` (virtual time), `script` (what is replayed), `sizes` (what resources cost), `run` (one replay),
`comparators` (what it is compared with), `metrics` (PROTOCOLS 4), `outcomes` (counterfactual labels for training),
`report` and `plots` (HTML).
"""
