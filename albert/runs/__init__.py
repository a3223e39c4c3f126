"""What a program does with its settings: puts the parts together, and writes what a run leaves.

Flags are unknown here.
"""
