"""Thin adapters of assistant frameworks; each module imports its own framework, and nothing else imports it."""
