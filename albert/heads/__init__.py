"""What stands on the encoder: from its output to predictions, and from those to a loss."""
