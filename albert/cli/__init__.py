"""How a command line becomes settings, and a result an exit code. Imports no TensorFlow."""

from albert.cli import start

start.begin()  # of a program: before its imports, which can fail, and which Ctrl-C can end
