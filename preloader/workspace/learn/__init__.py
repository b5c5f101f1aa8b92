"""What earlier sessions teach about an agent's next step: which files, which kind of call, which call exactly."""
