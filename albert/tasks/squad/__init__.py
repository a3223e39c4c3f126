"""SQuAD 1.1 and 2.0: files, windows, alignment of answers, decoding, and the official scores. Imports no TensorFlow."""
