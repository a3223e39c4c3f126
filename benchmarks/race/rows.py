"""The rows of the race: samples of real training rows, tokenised once by the project's own tokenizer; random ones."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from albert.errors import UserError
from albert.settings import DataSettings
from albert.tasks.base import Split
from albert.tasks.registry import get_task
from albert.tokenization import Tokenizer
from benchmarks.race.common import Rows

DENSE = "dense"
SQUAD = "squad"
SQUAD_FILE = "train-v1.1.json"
DOC_STRIDE = 128
MAX_QUESTION_LENGTH = 64
# Ids below are special tokens.
FIRST_PIECE = 5
VOCABULARY = 30000


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows in the order they are trained, what they were drawn from, and what kind of task they make."""

    rows: Rows
    kind: str  # "classification", "regression" or "span"
    num_labels: int
    source: str


def glue_sample(
    task_name: str,
    glue_dir: Path,
    tokenizer: Tokenizer,
    max_seq_length: int,
    wanted: int,
    seed: int,
    split: Split = "train",
) -> Sample:
    """Up to `wanted` rows of a GLUE task, drawn from `seed`. Raises UserError as the task's reader does."""
    task = get_task(task_name)
    examples = list(task.read(split, glue_dir))
    settings = DataSettings(task_name, glue_dir, Path(), max_seq_length)
    records = [
        task.featurize(examples[number], tokenizer, settings)[0] for number in _drawn(len(examples), wanted, seed)
    ]
    dtype = task.feature_spec["label_ids"].dtype
    rows = [(record["input_ids"], record["segment_ids"], record["label_ids"]) for record in records]
    kind, num_labels = ("regression", 1) if dtype == "float32" else ("classification", len(task.output.names))
    return Sample(Rows.from_lists(rows, dtype), kind, num_labels, f"drawn from {len(examples)} of {task_name} {split}")


def dense_sample(count: int, max_seq_length: int, seed: int) -> Sample:
    """Random tokens in rows of full length, so that there is no padding."""
    random = np.random.default_rng(seed)
    ids = random.integers(FIRST_PIECE, VOCABULARY, (count, max_seq_length)).tolist()
    labels = random.integers(0, 2, (count, 1)).tolist()
    segments = [0] * max_seq_length
    rows = Rows.from_lists([(row, segments, label) for row, label in zip(ids, labels, strict=True)], "int32")
    return Sample(rows, "classification", 2, "of random pieces")


def squad_sample(squad_dir: Path, tokenizer: Tokenizer, max_seq_length: int, wanted: int, seed: int) -> Sample:
    """Up to `wanted` windows of SQuAD v1.1's training questions, drawn from `seed`.

    A window is [CLS] question [SEP] part of the context [SEP]; the parts begin every DOC_STRIDE tokens. The
    answer is found by tokenising what is before it, which is good enough where only speed counts; 0 where a window
    lacks it.
    Raises UserError where the file is missing or not SQuAD's.
    """
    path = squad_dir / SQUAD_FILE
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        pairs = [(p["context"], q) for a in articles for p in a["paragraphs"] for q in p["qas"]]
        # Every question has a window: as many questions as windows are wanted are enough.
        asked = [pairs[number] for number in _drawn(len(pairs), wanted, seed)]
        windows = [window for pair in asked for window in _windows(*pair, tokenizer, max_seq_length)]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name SQuAD's folder with --squad_dir.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path} is not SQuAD's training file ({type(error).__name__}: {error}).") from error
    # Windows of one question would otherwise be neighbours.
    drawn = [windows[number] for number in _drawn(len(windows), wanted, seed)]
    source = f"drawn from the {len(windows)} windows of {len(asked)} of {len(pairs)} squad train questions"
    return Sample(Rows.from_lists(drawn, "int32"), "span", 2, source)


def _windows(
    context: str, question: dict, tokenizer: Tokenizer, max_seq_length: int
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """(input_ids, segment_ids, [start, end]) of every window of one question."""
    asked = tokenizer.encode(question["question"])[:MAX_QUESTION_LENGTH]
    tokens = tokenizer.encode(context)
    answer = question["answers"][0]
    before = len(tokenizer.encode(context[: answer["answer_start"]]))
    last = before + max(1, len(tokenizer.encode(answer["text"]))) - 1
    room = max_seq_length - len(asked) - 3
    if room < 1:
        raise UserError(f"--squad_max_seq_length={max_seq_length} has no room beside a question of {len(asked)} tokens")
    stride = min(DOC_STRIDE, room)
    for first in range(0, max(1, len(tokens) - room + stride), stride):
        part = tokens[first : first + room]
        head = [tokenizer.cls_id, *asked, tokenizer.sep_id]
        has_answer = first <= before and last < first + len(part)
        span = [len(head) + before - first, len(head) + last - first] if has_answer else [0, 0]
        yield [*head, *part, tokenizer.sep_id], [0] * len(head) + [1] * (len(part) + 1), span


def _drawn(count: int, wanted: int, seed: int) -> list[int]:
    """Up to `wanted` different numbers below `count`, in random order."""
    return np.random.default_rng(seed).permutation(count)[:wanted].tolist()
