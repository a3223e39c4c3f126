"""Fine-tunes and pretrains ALBERT on any number of GPUs.

Importing this package does nothing: TensorFlow is imported by the modules that need it, so that `--help` and the
command-line parser answer at once.
"""
