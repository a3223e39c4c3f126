"""Fine-tune ALBERT on as many GPUs as a person has.

Importing this package does nothing: TensorFlow is imported by the modules that need it, so that `--help` and the
command-line parser answer at once.
"""
