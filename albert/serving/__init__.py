"""A trained model as a thing of its own: a folder that stands alone, and a Python object made from it."""
