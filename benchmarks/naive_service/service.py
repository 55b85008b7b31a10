"""A BentoML service around transformers.pipeline, as its own tutorials write it: what `benchmarks.serve` compares with.

`CLASSIFIER` in the environment names the folder of the trained classifier (models/classifier).
"""

import os

import bentoml
from transformers import pipeline


@bentoml.service(traffic={"timeout": 30})
class Naive:
    """Answers one text a request."""

    def __init__(self) -> None:
        self.pipeline = pipeline("text-classification", model=os.environ["CLASSIFIER"], top_k=None)

    @bentoml.api
    def predict(self, text: str) -> list[dict[str, float | str]]:
        """Return every label with its score."""
        return self.pipeline(text)[0]
