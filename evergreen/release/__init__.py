"""What leaves the house with a model: provenance, card, dossier, Bento."""
