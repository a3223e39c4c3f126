"""A trained model behind HTTP, for a trial: what a request may be, the batches it becomes, limits, and the stop.

Imports no TensorFlow. `app` and `server` need the libraries of the extra `serve`.
"""
