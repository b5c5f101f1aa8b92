"""The code graph: which file of a workspace imports which, what they define, and what belongs together."""
