"""Training: recipes, fitting and validating what they describe, and cards that say what came out."""
