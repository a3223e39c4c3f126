"""Trains, evaluates and predicts with any model on any data over the replicas of a strategy; its checkpoints.

Imports nothing of the package but `errors`, `settings` and `system`: ALBERT, tasks and files of data are unknown here.
"""
