"""From text to pretraining records: sentences, vocabulary, instances, masks. Imports no TensorFlow."""
