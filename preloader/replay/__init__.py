"""Runs a history through the real manager on a virtual clock, and says what preloading was worth.

A `study` plays a `script` in four `comparators` (one of them `clairvoyant`) with the manager driven by `run` on the
virtual `clock`, where resources cost what `sizes` says; `rehearsal` saves working predictions out more than once.
`metrics` are those of ``docs/replay.md``. `watch` looks over a run's shoulder for `outcomes` (counterfactual labels for
training, written by `outcome_file`) and `calibration`. A `report` is one HTML page of `plots` and a `timeline`.
"""
