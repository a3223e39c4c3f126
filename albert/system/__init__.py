"""The operating system: files that are whole or absent, locks, processes, signals, strict JSON, texts' characters.

Imports no TensorFlow.
"""
