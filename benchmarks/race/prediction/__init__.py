"""The race of trained models: rows a second in inference, ours against those of transformers."""
