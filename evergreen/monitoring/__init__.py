"""What is known of live traffic: the request log, late labels, and what they say of the model."""
