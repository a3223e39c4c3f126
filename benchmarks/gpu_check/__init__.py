"""One command for whoever has GPUs: is it right there, does it repeat, and how fast is it? `__main__` says how."""
