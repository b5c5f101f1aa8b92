"""Prepares a coding agent's next step while its answer streams: files, facts and safe tool calls as kinds."""
