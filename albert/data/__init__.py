"""Records, caches and batches: which example is where in step t.

Imports nothing of the package but `errors` and `system`: tasks, models and strategies are unknown here.
"""
