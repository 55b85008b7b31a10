"""What a model is worth: metrics with intervals, slices, fairness, drift, and the verdict on them all."""
