"""From an alert to one retraining: who asked, whose turn it is, and whether it still lives."""
