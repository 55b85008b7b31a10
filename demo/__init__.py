"""The story of the whole loop, played by a user: `make demo`. Everything it does, it does through commands and HTTP."""
