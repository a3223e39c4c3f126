"""Names and files of weights in other formats, and how they become this model's variables."""
