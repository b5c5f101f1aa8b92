"""The three tiers, loads in flight, and what keeps a bad loader from doing harm."""
