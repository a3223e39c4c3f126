"""What other libraries say of an ALBERT beside its weights: configurations and vocabularies, in our terms."""
