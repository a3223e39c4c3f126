"""Pretraining from text: sentences, vocabulary, training records, and the run itself."""
