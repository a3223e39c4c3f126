"""The original's creation of pretraining data, one draw after the other: what ours is compared with and timed against.

Written from a description of what the original does, with its cost: lists of pieces, and Python loops over every token
and candidate. Given the original's generators, `random.Random(12345)` and `numpy.random.RandomState(12345)`, it draws
the same numbers in the same order, and makes the same instances.

    python3 -m benchmarks.pretraining_data_original '{"input_files": [...], "output_file": ..., <flags>}'

does with files what the original does, and prints as JSON how many records there are and the seconds they took.
"""

import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from albert.pretraining_data.pieces import is_start_piece
from albert.pretraining_data.text_files import read_lines
from albert.tokenization import Tokenizer, load_tokenizer

CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"

Pieces = list[str]
Document = list[Pieces]  # of sentences


@dataclasses.dataclass
class Instance:
    """One example, not yet a record."""

    tokens: Pieces
    segment_ids: list[int]
    masked_lm_positions: list[int]
    masked_lm_labels: Pieces
    is_random_next: bool
    token_boundary: list[int]


class Original:
    """The algorithm, for one set of flags; `flags` has the values of the flags of these names."""

    def __init__(
        self,
        flags: Mapping[str, Any],
        vocabulary: Pieces,
        is_start_piece: Callable[[str], bool],
        rng: random.Random,
        numpy_rng: np.random.RandomState,
    ):
        self.flags = flags
        self.vocabulary = vocabulary
        self.is_start_piece = is_start_piece
        self.rng = rng
        self.numpy_rng = numpy_rng
        lengths = np.arange(1, flags["ngram"] + 1)
        self._probabilities = 1.0 / lengths / (1.0 / lengths).sum()
        if not flags["favor_shorter_ngram"]:
            self._probabilities = self._probabilities[::-1]

    def instances(self, documents: Iterable[Document]) -> list[Instance]:
        """All instances of all passes through `documents`, shuffled."""
        documents = [document for document in documents if document]
        self.rng.shuffle(documents)
        made = []
        for _ in range(self.flags["dupe_factor"]):
            for number in range(len(documents)):
                made.extend(self.instances_of_document(documents, number))
        self.rng.shuffle(made)
        return made

    def instances_of_document(self, documents: list[Document], number: int) -> list[Instance]:
        """The instances of one pass through documents[number]."""
        document, rng = documents[number], self.rng
        most = self.flags["max_seq_length"] - 3
        target = most
        if rng.random() < self.flags["short_seq_prob"]:
            target = rng.randint(2, most)
        made, chunk, chunk_length = [], [], 0
        sentence = 0
        while sentence < len(document):
            chunk.append(document[sentence])
            chunk_length += len(document[sentence])
            if sentence == len(document) - 1 or chunk_length >= target:
                a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
                a = [piece for each in chunk[:a_end] for piece in each]
                b = [piece for each in chunk[a_end:] for piece in each]
                label = False
                if len(chunk) == 1 or (self.flags["random_next_sentence"] and rng.random() < 0.5):
                    label = True
                    b = self._text_of_another(documents, number, target - len(a))
                    sentence -= len(chunk) - a_end
                elif not self.flags["random_next_sentence"] and rng.random() < 0.5:
                    label = True
                    a, b = b, a
                self._truncate(a, b, most)
                made.append(self._instance(a, b, label))
                chunk, chunk_length = [], 0
            sentence += 1
        return made

    def masked(self, tokens: Pieces) -> tuple[Pieces, list[tuple[int, str]], list[int]]:
        """Tokens with masks, (position, true piece) of each prediction, and where words begin."""
        units: list[list[int]] = []
        boundary = [0] * len(tokens)
        for position, token in enumerate(tokens):
            if token in (CLS, SEP):
                boundary[position] = 1
                continue
            if self.flags["do_whole_word_mask"] and units and not self.is_start_piece(token):
                units[-1].append(position)
            else:
                units.append([position])
                if self.is_start_piece(token):
                    boundary[position] = 1
        output = list(tokens)
        if self.flags["masked_lm_prob"] == 0:
            return output, [], boundary
        wanted = max(1, round(len(tokens) * self.flags["masked_lm_prob"]))
        wanted = min(self.flags["max_predictions_per_seq"], wanted)
        sizes = range(1, self.flags["ngram"] + 1)
        candidates = [[units[start : start + n] for n in sizes] for start in range(len(units))]
        self.rng.shuffle(candidates)
        masked = self._selected(candidates, wanted, set())
        predictions = []
        for position in masked:
            output[position] = self._stand_in(tokens[position])
            predictions.append((position, tokens[position]))
        # The original shuffles the candidates a second time also when nothing is permuted.
        self.rng.shuffle(candidates)
        if self.flags["do_permutation"]:
            chosen = sorted(self._selected(candidates, wanted, set(masked)))
            sources = list(chosen)
            self.rng.shuffle(sources)
            before = list(output)
            for position, source in zip(chosen, sources, strict=True):
                output[position] = before[source]
                predictions.append((position, before[position]))
        return output, sorted(predictions), boundary

    def _text_of_another(self, documents: list[Document], number: int, wanted: int) -> Pieces:
        for _ in range(10):
            other = self.rng.randint(0, len(documents) - 1)
            if other != number:
                break
        start = self.rng.randint(0, len(documents[other]) - 1)
        text: Pieces = []
        for sentence in documents[other][start:]:
            text.extend(sentence)
            if len(text) >= wanted:
                break
        return text

    def _truncate(self, a: Pieces, b: Pieces, most: int) -> None:
        while len(a) + len(b) > most:
            longer = a if len(a) > len(b) else b
            if self.rng.random() < 0.5:
                del longer[0]
            else:
                longer.pop()

    def _instance(self, a: Pieces, b: Pieces, label: bool) -> Instance:
        tokens, predictions, boundary = self.masked([CLS, *a, SEP, *b, SEP])
        return Instance(
            tokens=tokens,
            segment_ids=[0] * (len(a) + 2) + [1] * (len(b) + 1),
            masked_lm_positions=[position for position, _ in predictions],
            masked_lm_labels=[piece for _, piece in predictions],
            is_random_next=label,
            token_boundary=boundary,
        )

    def _selected(self, candidates: list[list[list[list[int]]]], wanted: int, covered: set[int]) -> list[int]:
        """At most `wanted` positions that are not `covered`, in the order of their selection."""
        selected: list[int] = []
        taken = set(covered)
        for ngrams in candidates:
            if len(selected) >= wanted:
                break
            n = self.numpy_rng.choice(np.arange(1, len(ngrams) + 1), p=self._probabilities)
            positions = [position for unit in ngrams[n - 1] for position in unit]
            while len(selected) + len(positions) > wanted and n > 1:
                n -= 1
                positions = [position for unit in ngrams[n - 1] for position in unit]
            if len(selected) + len(positions) > wanted or any(position in taken for position in positions):
                continue
            taken.update(positions)
            selected.extend(positions)
        return selected

    def _stand_in(self, token: str) -> str:
        if self.rng.random() < 0.8:
            return MASK
        if self.rng.random() < 0.5:
            return token
        return self.vocabulary[self.rng.randint(0, len(self.vocabulary) - 1)]


def read_documents(files: Iterable[Path], tokenizer: Tokenizer) -> list[Document]:
    """All documents of `files`, as pieces. A file's end does not end a document."""
    documents: list[Document] = [[]]
    for path in files:
        for _, line in read_lines(path):
            text = tokenizer.preprocess(line)
            if not text:
                documents.append([])
            if pieces := tokenizer.tokenize(text):
                documents[-1].append(pieces)
    return documents


def records(
    instances: Iterable[Instance], flags: Mapping[str, Any], model: sentencepiece.SentencePieceProcessor
) -> Iterator[bytes]:
    """Serialized `tf.train.Example`s."""
    import tensorflow as tf

    def integers(values: list[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=list(values)))

    def padded(values: list, length: int) -> list:
        values = list(values)
        while len(values) < length:
            values.append(0)
        return values

    length, places = flags["max_seq_length"], flags["max_predictions_per_seq"] * (1 + flags["do_permutation"])
    for instance in instances:
        count = len(instance.masked_lm_positions)
        features = {
            "input_ids": integers(padded([model.piece_to_id(piece) for piece in instance.tokens], length)),
            "input_mask": integers(padded([1] * len(instance.tokens), length)),
            "segment_ids": integers(padded(instance.segment_ids, length)),
            "token_boundary": integers(padded(instance.token_boundary, length)),
            "masked_lm_positions": integers(padded(instance.masked_lm_positions, places)),
            "masked_lm_ids": integers(
                padded([model.piece_to_id(piece) for piece in instance.masked_lm_labels], places)
            ),
            "masked_lm_weights": tf.train.Feature(
                float_list=tf.train.FloatList(value=[float(weight) for weight in padded([1] * count, places)])
            ),
            "next_sentence_labels": integers([int(instance.is_random_next)]),
        }
        yield tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def create(flags: Mapping[str, Any]) -> int:
    """Writes the records of flags["input_files"] to flags["output_file"], and returns how many there are."""
    import tensorflow as tf

    spm_model_file = Path(flags["spm_model_file"])
    model = sentencepiece.SentencePieceProcessor(model_file=str(spm_model_file))
    vocabulary = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    tokenizer = load_tokenizer(spm_model_file, None, flags["do_lower_case"])
    seeds = random.Random(flags["random_seed"]), np.random.RandomState(flags["random_seed"])
    original = Original(flags, vocabulary, is_start_piece, *seeds)
    instances = original.instances(read_documents(map(Path, flags["input_files"]), tokenizer))
    with tf.io.TFRecordWriter(flags["output_file"]) as writer:
        for record in records(instances, flags, model):
            writer.write(record)
    return len(instances)


def main() -> None:
    """Creates, and prints what that took: of wall time and of processor time, without importing TensorFlow."""
    import tensorflow  # noqa: F401 - before the clocks start

    wall, core = time.perf_counter(), time.process_time()
    count = create(json.loads(sys.argv[1]))
    taken = {"wall_seconds": time.perf_counter() - wall, "core_seconds": time.process_time() - core}
    print(json.dumps({"records": count, **taken}))


if __name__ == "__main__":
    main()
