"""What judges: the contracts of a model, one in this process, and one in others."""
