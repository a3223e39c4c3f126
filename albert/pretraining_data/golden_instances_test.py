"""Pairs and masks against the instances that the original recorded.

`benchmarks.pretraining_data_original` makes those instances from the original's generators, which shows that it is the
original's algorithm. Its draws, given to ours, must make all of its instances again.
"""

import itertools
import json
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from albert.pretraining_data.documents import CorpusArrays
from albert.pretraining_data.instances import Pair, PairSettings, pairs_of_document, sequences
from albert.pretraining_data.masking import MASK_SHARE, Masked, MaskSettings, mask, word_units
from albert.pretraining_data.pieces import encode, is_start_piece, vocabulary_of
from albert.tokenization import load_tokenizer
from benchmarks.pretraining_data_original import Document, Instance, Original

TESTDATA = Path(__file__).parent.parent / "testdata"
SPM_MODEL_FILE = TESTDATA / "30k-clean.model"
TEXT = (TESTDATA / "pretraining_data" / "text.txt").read_text(encoding="utf-8")
GOLDEN = json.loads((TESTDATA / "pretraining_data" / "instances.json").read_text(encoding="utf-8"))

_MODEL = SentencePieceProcessor(model_file=str(SPM_MODEL_FILE))
PIECES = [_MODEL.id_to_piece(i) for i in range(_MODEL.get_piece_size())]
KNOWN = frozenset(PIECES)


class Text:
    """The golden text: its documents as pieces, and the ids of each of its sentences."""

    def __init__(self, do_lower_case: bool):
        tokenizer = load_tokenizer(SPM_MODEL_FILE, None, do_lower_case)
        self.vocabulary = vocabulary_of(tokenizer)
        self.documents: list[Document] = [[]]
        self._ids = {}
        for line in TEXT.splitlines():
            pieces = tokenizer.tokenize(tokenizer.preprocess(line))
            self._ids[tuple(pieces)] = encode(line, tokenizer, self.vocabulary)
            self.documents += [[]] if not pieces else []
            self.documents[-1] += [pieces] if pieces else []

    def arrays(self, documents: list[Document]) -> CorpusArrays:
        """`documents`, in their order, as a corpus on disk is read."""
        sentences = [self._ids[tuple(pieces)] for document in documents for pieces in document]
        return CorpusArrays(
            ids=np.array(list(itertools.chain.from_iterable(sentences))),
            sentence_starts=np.cumsum([0, *map(len, sentences)]),
            document_starts=np.cumsum([0, *map(len, documents)]),
        )


class Recorder:
    """A generator that notes (kind, value) of what it draws."""

    def __init__(self, generator: random.Random | np.random.RandomState):
        self.log: list[tuple[str, object]] = []
        self._generator = generator

    def random(self) -> float:
        return self._noted("random", self._generator.random())

    def randint(self, low: int, high: int) -> int:
        return self._noted("randint", self._generator.randint(low, high))

    def choice(self, values: np.ndarray, p: np.ndarray) -> int:
        return self._noted("choice", int(self._generator.choice(values, p=p)))

    def shuffle(self, values: list) -> None:
        order = list(range(len(values)))
        self._generator.shuffle(order)
        values[:] = [values[i] for i in self._noted("shuffle", order)]

    def _noted(self, kind: str, value):
        self.log.append((kind, value))
        return value


class MaskLog(NamedTuple):
    """What was drawn for the masks of one instance."""

    orders: list[list[int]]  # of candidates by stage, then of permuted tokens
    ngrams: list[list[int]]  # by stage
    fates: dict[int, tuple[float, int]]  # by position, as MaskDraws.stand_in


class RecordingOriginal(Original):
    """The original, which keeps what it draws: for pairs by pass through a document, for masks by instance."""

    def __init__(self, flags: dict):
        super().__init__(
            flags, PIECES, is_start_piece, Recorder(random.Random(12345)), Recorder(np.random.RandomState(12345))
        )
        self.numpy_rng.log = self.rng.log  # one log for both, for the order
        self.documents: list[Document] = []
        self.pair_draws: list[tuple[int, list[float | int]]] = []  # (document, draws)
        self.made: list[Instance] = []
        self.mask_logs: list[MaskLog] = []
        self._selected_positions: list[list[int]] = []

    def instances_of_document(self, documents, number):
        self.documents = documents
        self.rng.log.clear()
        made = super().instances_of_document(documents, number)
        self.pair_draws.append((number, [value for _, value in self.rng.log]))
        self.made += made
        return made

    def masked(self, tokens):
        first = len(self.rng.log)
        self._selected_positions = []
        result = super().masked(tokens)
        log = self.rng.log[first:]
        del self.rng.log[first:]
        shuffles = [place for place, (kind, _) in enumerate(log) if kind == "shuffle"]
        stages = [log[start:end] for start, end in itertools.pairwise([*shuffles[:2], len(log)])]
        stand_ins = [entry for stage in stages[:1] for entry in stage if entry[0] in ("random", "randint")]
        orders = [log[place][1] for place in shuffles]
        if len(orders) > 1:  # the second shuffle is of what the first one left
            orders[1] = [orders[0][i] for i in orders[1]]
        self.mask_logs.append(
            MaskLog(
                orders=orders,
                ngrams=[[value for kind, value in stage if kind == "choice"] for stage in stages],
                fates=self._fates(iter([value for _, value in stand_ins])),
            )
        )
        return result

    def _selected(self, candidates, wanted, covered):
        selected = super()._selected(candidates, wanted, covered)
        self._selected_positions.append(selected)
        return selected

    def _fates(self, draws) -> dict[int, tuple[float, int]]:
        fates = {}
        for position in self._selected_positions[0] if self._selected_positions else []:
            fate, other = 0.0, 0
            if next(draws) >= MASK_SHARE:
                fate = 0.85 if next(draws) < 0.5 else 0.95  # the token itself, or another one
                other = next(draws) if fate == 0.95 else 0
            fates[position] = (fate, other)
        return fates


class ReplayedPairs:
    """The recorded draws of one pass, as `instances.Draws`."""

    def __init__(self, draws: list[float | int]):
        self.left = list(reversed(draws))

    def uniform(self) -> float:
        assert isinstance(self.left[-1], float)
        return self.left.pop()

    def between(self, low: int, high: int) -> int:
        assert isinstance(self.left[-1], int)
        assert low <= self.left[-1] <= high
        return self.left.pop()


class ReplayedMasks:
    """The recorded draws of several instances, as `masking.MaskDraws`."""

    def __init__(self, logs: list[MaskLog]):
        self._logs = logs

    def start(self, stage, rows, step):
        return np.array([self._logs[row].orders[stage][step] for row in rows])

    def ngram(self, stage, rows, step):
        return np.array([self._logs[row].ngrams[stage][step] for row in rows])

    def stand_in(self, rows, positions):
        fates = [self._logs[row].fates[position] for row, position in zip(rows, positions, strict=True)]
        return np.array([fate for fate, _ in fates]), np.array([other for _, other in fates], int)

    def permutation(self, counts):
        orders = np.zeros((len(counts), counts.max()), int)
        for row, count in enumerate(counts):
            orders[row, :count] = self._logs[row].orders[2]
        return orders


def only(settings_class: type, flags: dict):
    return settings_class(**{name: flags[name] for name in settings_class.__dataclass_fields__ if name in flags})


def replayed(original: RecordingOriginal, text: Text, flags: dict) -> tuple[list[Pair], list[int], Masked]:
    """Ours, fed with the draws of `original`: all pairs, lengths of the sequences, and masks."""
    corpus = text.arrays(original.documents)
    pairs = []
    for document, draws in original.pair_draws:
        replayed_draws = ReplayedPairs(draws)
        pairs += pairs_of_document(corpus, document, only(PairSettings, flags), replayed_draws)
        assert not replayed_draws.left
    settings = only(MaskSettings, flags)
    batch = sequences(corpus.ids, pairs, flags["max_seq_length"], text.vocabulary)
    units = word_units(batch, text.vocabulary, settings)
    masked = mask(batch, units, text.vocabulary, settings, ReplayedMasks(original.mask_logs))
    return pairs, batch.lengths.tolist(), masked


def unknown_as_such(pieces: list[str]) -> list[str]:
    return [piece if piece in KNOWN else "<unk>" for piece in pieces]


@pytest.mark.parametrize("run", GOLDEN)
def test_the_recorded_instances_come_from_the_recorded_draws(run):
    flags = GOLDEN[run]["flags"]
    text = Text(flags["do_lower_case"])
    original = RecordingOriginal(flags)
    shuffled = original.instances(text.documents)
    assert len(shuffled) == GOLDEN[run]["n_instances"]
    for instance, expected in zip(shuffled, GOLDEN[run]["instances"], strict=False):
        assert vars(instance) == expected

    pairs, lengths, masked = replayed(original, text, flags)
    assert len(pairs) == len(original.made)
    for row, (instance, pair, length) in enumerate(zip(original.made, pairs, lengths, strict=True)):
        count = masked.counts[row]
        assert [PIECES[i] for i in masked.input_ids[row, :length]] == unknown_as_such(instance.tokens)
        assert [PIECES[i] for i in masked.ids[row, :count]] == unknown_as_such(instance.masked_lm_labels)
        assert masked.positions[row, :count].tolist() == instance.masked_lm_positions
        assert masked.token_boundary[row, :length].tolist() == instance.token_boundary
        assert pair.label == instance.is_random_next
        assert pair.a_length + 2 == instance.segment_ids.count(0)
        assert not masked.positions[row, count:].any() | masked.ids[row, count:].any()
        assert not masked.input_ids[row, length:].any() | masked.token_boundary[row, length:].any()
