"""Tables of examples: read, checked, cleaned, split. Knows no model."""
