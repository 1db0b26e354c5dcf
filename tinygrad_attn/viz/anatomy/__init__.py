"""The anatomy of one call of an attention layer: every matrix, every gradient, on one page."""
