"""Token ids of one or two texts to model inputs: truncation, special tokens and segments, as ALBERT was trained on.

Owns the layout `[CLS] A [SEP] B [SEP]`. Knows no task, no files and no TensorFlow; padding is added when
batches are made.
"""

from albert.errors import UserError
from albert.tokenization import Tokenizer

_PAIR_SPECIAL_TOKENS = 3  # [CLS] A [SEP] B [SEP]
_SINGLE_SPECIAL_TOKENS = 2  # [CLS] A [SEP]


def truncated_pair_lengths(length_a: int, length_b: int, budget: int) -> tuple[int, int]:
    """How much of each text is kept when both together may have `budget` tokens.

    The same as taking one token at a time from the end of the longer text, and from B when they are equally long.
    """
    excess = length_a + length_b - budget
    if excess <= 0:
        return length_a, length_b
    # The longer text first shrinks to the length of the other; from there on they take turns, beginning with B.
    difference = min(abs(length_a - length_b), excess)
    if length_a > length_b:
        length_a -= difference
    else:
        length_b -= difference
    excess -= difference
    return length_a - excess // 2, length_b - (excess + 1) // 2


def build_pair_features(
    tokens_a: list[int], tokens_b: list[int] | None, max_seq_length: int, tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """`(input_ids, segment_ids)` of at most `max_seq_length` tokens, unpadded.

    A second text without tokens makes a single-text example, as in the original. Segments are 0 up to and including the
    first [SEP], 1 after it.
    Raises UserError if `max_seq_length` has no room for the special tokens.
    """
    if max_seq_length < _PAIR_SPECIAL_TOKENS:
        raise UserError(
            f"`max_seq_length`={max_seq_length} has no room for [CLS] A [SEP] B [SEP]; at least 3 is needed."
        )
    if not tokens_b:
        kept = tokens_a[: max_seq_length - _SINGLE_SPECIAL_TOKENS]
        input_ids = [tokenizer.cls_id, *kept, tokenizer.sep_id]
        return input_ids, [0] * len(input_ids)
    kept_a, kept_b = truncated_pair_lengths(len(tokens_a), len(tokens_b), max_seq_length - _PAIR_SPECIAL_TOKENS)
    input_ids = [tokenizer.cls_id, *tokens_a[:kept_a], tokenizer.sep_id, *tokens_b[:kept_b], tokenizer.sep_id]
    return input_ids, [0] * (kept_a + 2) + [1] * (kept_b + 1)
