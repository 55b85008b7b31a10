"""Models: found, trained, exported, run. Knows no table and no file name of the pipeline."""
