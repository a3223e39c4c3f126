"""Trains, evaluates and predicts with any model on any data over the replicas of a strategy; its checkpoints.

Imports nothing of the package but `errors`, `settings` and `system`, so it knows nothing of ALBERT, tasks and files of
data; models, optimizers and data come in as functions and objects that its protocols describe.
"""
