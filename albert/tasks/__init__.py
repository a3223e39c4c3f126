"""Fine-tuning tasks: data files -> examples -> ids; labels, metrics, recipes. No TensorFlow."""
