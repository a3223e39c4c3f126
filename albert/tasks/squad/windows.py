"""A context with a question as windows of tokens, and which characters of the context each token covers."""

import dataclasses

import numpy as np

from albert.data.schema import Record
from albert.tasks.squad.files import Question
from albert.tokenization import Encoding, Tokenizer

SPECIAL_TOKENS = 3  # [CLS] question [SEP] document [SEP]

NO_TOKENS = (-1, -1)  # an answer whose characters all vanished between two tokens
UNLABELLED: Record = {"start_positions": [0], "end_positions": [0], "is_impossible": [0]}
_WITHOUT_ANSWER: Record = {"start_positions": [0], "end_positions": [0], "is_impossible": [1]}


@dataclasses.dataclass(frozen=True, eq=False)
class Document:
    """A context as T tokens."""

    encoding: Encoding
    first_characters: list[int]  # [T]
    last_characters: list[int]  # [T], inclusive

    @property
    def ids(self) -> list[int]:
        """[T]."""
        return self.encoding.ids

    def tokens_of(self, start: int, stop: int) -> tuple[int, int]:
        """First and last token of the characters from `start` up to `stop`; NO_TOKENS if they are in no token."""
        first = int(np.searchsorted(self.encoding.stops, start, side="right"))
        last = int(np.searchsorted(self.encoding.starts, stop - 1, side="right")) - 1
        return (first, last) if first <= last else NO_TOKENS


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of a document: tokens from `start` up to `stop`."""

    start: int  # the first token
    stop: int
    is_max_context: list[int]  # [stop - start], 0 or 1


def tokenize_document(context: str, tokenizer: Tokenizer) -> Document | None:
    """The tokens of `context` and their characters; None where it has no token."""
    encoding = tokenizer.encode_with_offsets(context)
    if not encoding.ids:
        return None
    last_characters = np.maximum(encoding.starts, encoding.stops - 1)
    return Document(encoding, encoding.starts.tolist(), last_characters.tolist())


def split_into_windows(num_tokens: int, room: int, stride: int) -> list[Window]:
    """Windows of at most `room` tokens that cover `num_tokens`, each beginning `stride` after the one before it."""
    spans = [(0, min(num_tokens, room))]
    while spans[-1][1] < num_tokens:
        start, stop = spans[-1]
        start += min(stop - start, stride)
        spans.append((start, min(num_tokens, start + room)))
    best_score, best_window = np.full(num_tokens, -np.inf), np.zeros(num_tokens, np.int64)
    for number, (start, stop) in enumerate(spans):
        left = np.arange(stop - start)
        score = np.minimum(left, left[::-1]) + 0.01 * (stop - start)  # the tokens at hand on the side with fewer
        better = np.flatnonzero(score > best_score[start:stop]) + start
        best_score[better] = score[better - start]
        best_window[better] = number
    return [
        Window(start, stop, (best_window[start:stop] == number).astype(int).tolist())
        for number, (start, stop) in enumerate(spans)
    ]


def window_features(query: list[int], document: Document, window: Window, tokenizer: Tokenizer) -> Record:
    """What the model reads of a window, and what decoding needs to know of its document."""
    shown = slice(window.start, window.stop)
    length = window.stop - window.start
    return {
        "input_ids": [tokenizer.cls_id, *query, tokenizer.sep_id, *document.ids[shown], tokenizer.sep_id],
        "segment_ids": [0] * (len(query) + 2) + [1] * (length + 1),
        "p_mask": [0] + [1] * (len(query) + 1) + [0] * length + [1],
        "paragraph_len": [len(query) + length + SPECIAL_TOKENS],
        "tok_start_to_orig_index": document.first_characters[shown],
        "tok_end_to_orig_index": document.last_characters[shown],
        "token_is_max_context": [-1] * (len(query) + 2) + window.is_max_context + [-1],
    }


def answer_tokens(question: Question, document: Document) -> tuple[int, int] | None:
    """First and last token of the answer to learn; None for an impossible question."""
    if question.is_impossible:
        return None
    text, start = question.answers[0]
    return document.tokens_of(start, start + len(text))


def window_label(answer: tuple[int, int] | None, window: Window, doc_offset: int) -> Record:
    """The label columns of a window; `doc_offset` is the position of its first document token in the input."""
    if answer is None or answer[0] < window.start or answer[1] >= window.stop:
        return _WITHOUT_ANSWER
    first, last = (token - window.start + doc_offset for token in answer)
    return {"start_positions": [first], "end_positions": [last], "is_impossible": [0]}
