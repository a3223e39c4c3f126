"""What a program does with its settings: puts the parts together, and writes what a run leaves.

Knows nothing of flags.
"""
