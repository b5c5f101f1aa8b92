"""A fast language model beside the agent's own says what the agent will ask for next."""
