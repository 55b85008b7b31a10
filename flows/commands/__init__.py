"""The command line's groups, one module each: what a person gives, and what they are shown."""
