"""The request log: every answer and every label that came later, from the process that gave it to the database."""
