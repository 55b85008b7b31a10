"""The library: computes on arguments, and knows no file name of the pipeline, no Prefect and no DVC."""
