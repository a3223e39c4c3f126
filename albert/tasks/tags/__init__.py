"""A tag for every word of one's own texts: CoNLL files or JSON with lists, entities and their scores, and the task."""
