"""How a command line becomes settings, and a result an exit code. Imports no TensorFlow."""
