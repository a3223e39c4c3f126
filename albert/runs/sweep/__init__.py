"""Many runs of the project's own programs: planned, run side by side, compared, submitted. No TensorFlow.

`conduct` is the way through: a request becomes jobs (`plan`, `search`), the jobs become processes (`scheduler`), and
what these left becomes tables and a submission (`results`, `table`, `picture`, `submission`).
"""
