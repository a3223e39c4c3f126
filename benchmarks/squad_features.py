"""Measures turning a SQuAD training file into features, against the original's way of aligning characters.

    python3 -m benchmarks.squad_features --train_file=train-v2.0.json --spm_model_file=<30k-clean.model>

Prints a table and appends it, with the date and the command, to benchmarks/results/squad_features.md. The original
aligns the context again for every question, filling a table cell by cell in Python. Its way is written out here,
measured on a few questions spread over the file, compared with ours, and extrapolated; preprocessing a character is
this project's, which is faster than the original's.
"""

import argparse
import functools
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from albert.data.tfrecord_cache import RecordCache, open_or_build
from albert.settings import DataSettings
from albert.tasks.squad.task import Paragraph, SquadTask, all_questions
from albert.tokenization import Tokenizer, load_tokenizer, preprocess_text
from benchmarks.results_file import append_result

T = TypeVar("T")

_LONG_CONTEXTS = (10_000, 100_000, 300_000, 1_000_000)  # characters
_UNALIGNED = -1
_LEAST_TABLE = 1024  # rows and columns of the original's table, which it refills for every question


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """What `function` returns, and the seconds it took."""
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def joined_pieces(context: str, tokenizer: Tokenizer) -> str:
    """The characters of the context's pieces."""
    return "".join(tokenizer.tokenize(tokenizer.preprocess(context))).replace("\u2581", " ")


def check_alignment(context: str, partners: list[int], tokenizer: Tokenizer) -> None:
    """Raises AssertionError unless `partners`, a character of the pieces for each of the context, are in its tokens."""
    encoding = tokenizer.encode_with_offsets(context)
    lengths = [len(piece) for piece in tokenizer.tokenize(tokenizer.preprocess(context))]
    tokens = np.repeat(np.arange(len(lengths)), lengths)
    for character, partner in enumerate(partners):
        if partner != _UNALIGNED:
            token = tokens[partner]
            is_in_token = encoding.starts[token] <= character < max(encoding.stops[token], 1)
            assert is_in_token, f"alignments differ: {context[:80]!r}, character {character}"


def align_as_the_original(context: str, pieces: str, lower: bool) -> list[int]:
    """The same, cell by cell; only the first of the original's two attempts."""
    n, m = len(context), len(pieces)
    band = abs(n - m) + 5
    lengths = np.zeros((max(n, _LEAST_TABLE), max(m, _LEAST_TABLE)), np.float32)
    directions = {}
    for i in range(n):
        for j in range(max(0, i - band), min(m, i + band)):
            best, direction = (lengths[i - 1, j] if i else 0), "up"
            if j and lengths[i, j - 1] > best:
                best, direction = lengths[i, j - 1], "left"
            before = lengths[i - 1, j - 1] if i and j else 0
            same = preprocess_text(context[i], remove_space=False, lower=lower) == pieces[j]
            if same and before + 1 > best:
                best, direction = before + 1, "both"
            lengths[i, j], directions[i, j] = best, direction
    partners = [_UNALIGNED] * n
    i, j = n - 1, m - 1
    while (i, j) in directions:
        direction = directions[i, j]
        if direction == "both":
            partners[i] = j
        i, j = i - (direction != "left"), j - (direction != "up")
    return partners


def measure_cache(task: SquadTask, tokenizer: Tokenizer, settings: DataSettings) -> tuple[float, float]:
    """Seconds to build the cache, with as many processes as a run takes, and to open it again."""
    import tensorflow  # noqa: F401 - before the clock starts

    def open_cache(folder: Path) -> RecordCache:
        return open_or_build(
            directory=folder,
            stem=task.name,
            identity=task.identity(),
            items=lambda: task.read("train", settings.data_dir),
            featurize=functools.partial(task.featurize, tokenizer=tokenizer, settings=settings),
            feature_spec=task.feature_spec,
        )

    with tempfile.TemporaryDirectory() as folder:
        _, building = timed(lambda: open_cache(Path(folder)))
        _, opening = timed(lambda: open_cache(Path(folder)))
    return building, opening


def measure_original(paragraphs: list[Paragraph], tokenizer: Tokenizer, sampled: int) -> float:
    """Mean seconds a question of the original's alignment, over `sampled` questions."""
    contexts = [paragraph.context for paragraph in paragraphs for _ in paragraph.questions]
    lower = tokenizer.do_lower_case
    seconds = 0.0
    for context in contexts[:: len(contexts) // sampled][:sampled]:
        pieces = joined_pieces(context, tokenizer)
        partners, elapsed = timed(functools.partial(align_as_the_original, context, pieces, lower))
        check_alignment(context, partners, tokenizer)
        seconds += elapsed / sampled
    return seconds


def measure(task: SquadTask, tokenizer: Tokenizer, settings: DataSettings, sampled: int) -> str:
    """The table of results, in Markdown."""
    paragraphs, reading = timed(lambda: list(task.read("train", settings.data_dir)))
    records, features = timed(lambda: [r for p in paragraphs for r in task.featurize(p, tokenizer, settings)])
    _, tokens = timed(lambda: [tokenizer.encode(p.context) for p in paragraphs])
    _, with_offsets = timed(lambda: [tokenizer.encode_with_offsets(p.context) for p in paragraphs])
    alignment = with_offsets - tokens
    building, opening = measure_cache(task, tokenizer, settings)
    questions = len(all_questions(paragraphs))
    original = questions * measure_original(paragraphs, tokenizer, sampled)
    rows = (
        (f"reading {questions} questions on {len(paragraphs)} paragraphs", reading),
        (f"features, one process: {len(records)} windows of up to {settings.max_seq_length} tokens", features),
        ("of these the alignment", alignment),
        ("building the cache, reading and features included, processes as in a run", building),
        ("opening the cache", opening),
        (f"the original's alignment, extrapolated from {sampled} questions", original),
    )
    lines = ["| what | seconds |", "| --- | ---: |", *(f"| {what} | {seconds:.2f} |" for what, seconds in rows)]
    return "\n".join([*lines, "", f"Alignment alone: {original / alignment:.0f} times faster than the original's."])


def measure_long_contexts(lengths: Sequence[int], tokenizer: Tokenizer) -> str:
    """CPU seconds and further memory for the offsets of one context of each length, which must rise. In Markdown."""
    lines = ["| characters, every space double | CPU seconds | MiB |", "| ---: | ---: | ---: |"]
    sentence = "the contract  shall  remain  in force  until  the party  gives  notice  in writing  "
    tokenizer.encode_with_offsets(sentence)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for length in lengths:
        context = (sentence * (length // len(sentence) + 1))[:length]
        started = time.process_time()
        tokenizer.encode_with_offsets(context)
        seconds = time.process_time() - started
        used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        lines.append(f"| {length:,} | {seconds:.2f} | {used_kib // 1024} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", type=Path, required=True, help="in SQuAD's JSON format, 1.1 or 2.0")
    parser.add_argument("--spm_model_file", type=Path, required=True)
    parser.add_argument("--max_seq_length", type=int, default=384)
    parser.add_argument("--sampled", type=int, default=12, help="questions aligned as the original does")
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(arguments.spm_model_file, None, do_lower_case=True)
    long_contexts = measure_long_contexts(_LONG_CONTEXTS, tokenizer)  # first, because memory is the most so far
    task = SquadTask(version="2.0", train_file=arguments.train_file)
    settings = DataSettings(task.name, Path(), Path(), arguments.max_seq_length, arguments.spm_model_file)
    append_result("squad_features", measure(task, tokenizer, settings, arguments.sampled) + "\n\n" + long_contexts)


if __name__ == "__main__":
    main()
