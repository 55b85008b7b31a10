"""WHERE: one runner per stage of dvc.yaml, in its order: load, call evergreen, save."""
