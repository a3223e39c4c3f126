"""What is written of tags: the words with what was predicted, and scores by type. No TensorFlow."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from albert.tasks.tags.entities import Counts, are_chunks, count_entities, total

Tagged = Sequence[Sequence[str]]


def tag_scores(names: Sequence[str], gold: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> dict[str, float]:
    """Metrics of the tags of N texts, by number, each an array over words; -1 for a word without any.

    Where the tags mark entities: "f1", "precision", "recall" of these, as `entities` counts them. Otherwise "f1_macro":
    the mean over the tags that are there or predicted. Always "accuracy", the share of words whose tag is right.
    """
    of_words = _counts(len(names), gold, predicted)
    accuracy = float(of_words[0].sum() / max(1, of_words[2].sum()))
    if are_chunks(names):
        figures = total(count_entities(named(names, gold), named(names, predicted))).figures()
        return {
            "f1": figures["f1"],
            "precision": figures["precision"],
            "recall": figures["recall"],
            "accuracy": accuracy,
        }
    there = of_words[1:].sum(axis=0)
    f1 = 2 * of_words[0][there > 0] / there[there > 0]
    return {"accuracy": accuracy, "f1_macro": float(f1.mean()) if len(f1) else 0.0}


def tag_report(names: Sequence[str], gold: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> dict[str, Any]:
    """Precision, recall, F1 and support of each type of entity, or of each tag where these mark none, and their means.

    "micro" is of all entities together, so that its "f1" is the metric f1; "macro" the mean over types.
    """
    of_words = _counts(len(names), gold, predicted)
    report: dict[str, Any] = {}
    if are_chunks(names):
        counts = count_entities(named(names, gold), named(names, predicted))
        report["classes"] = {type_: found.figures() for type_, found in counts.items()}
        report["micro"] = total(counts).figures()
    else:
        columns = zip(names, of_words.T.tolist(), strict=True)
        report["classes"] = {name: Counts(*map(int, column)).figures() for name, column in columns if sum(column)}
    figures = list(report["classes"].values())
    means = {
        key: float(np.mean([one[key] for one in figures])) if figures else 0.0 for key in ("precision", "recall", "f1")
    }
    report["macro"] = {**means, "support": sum(one["support"] for one in figures)}
    report["accuracy"] = float(of_words[0].sum() / max(1, of_words[2].sum()))
    return report


def _counts(num_tags: int, gold: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> np.ndarray:
    """int64 [3, C]: words of each tag that are right, predicted, and there."""
    theirs, ours = (np.concatenate([np.zeros(0, np.int64), *map(np.asarray, some)]) for some in (gold, predicted))
    assert theirs.shape == ours.shape, f"{theirs.shape} tags, {ours.shape} predictions"
    right = theirs[theirs == ours]
    columns = (right, ours[ours >= 0], theirs)
    return np.stack([np.bincount(numbers.astype(np.int64), minlength=num_tags) for numbers in columns])


def named(names: Sequence[str], numbers: Sequence[np.ndarray]) -> list[list[str]]:
    """The tags of texts by name; "O" for -1."""
    return [[names[number] if number >= 0 else "O" for number in row] for row in numbers]


def predictions_conll(words: Tagged, gold: Sequence[Sequence[str] | None], predicted: Tagged) -> str:
    """A line for each word: the word, its tag where the text has tags, what was predicted; empty lines between texts.

    Blanks stand between columns, as the script conlleval expects, or tabs if a word or a tag has a blank in it.
    """
    columns_of_texts = (*words, *(tags for tags in gold if tags is not None), *predicted)
    separator = "\t" if any(" " in cell for cells in columns_of_texts for cell in cells) else " "
    lines = []
    for text, theirs, ours in zip(words, gold, predicted, strict=True):
        columns = zip(text, theirs, ours, strict=True) if theirs is not None else zip(text, ours, strict=True)
        lines += [separator.join(cells) + "\n" for cells in columns] + ["\n"]
    return "".join(lines)


def predictions_jsonl(words: Tagged, gold: Sequence[Sequence[str] | None], predicted: Tagged) -> str:
    """An object a text: `tokens`, `tags` where it has some, `predictions`."""
    lines = []
    for text, theirs, ours in zip(words, gold, predicted, strict=True):
        tags = {} if theirs is None else {"tags": list(theirs)}
        lines.append(json.dumps({"tokens": list(text), **tags, "predictions": list(ours)}, ensure_ascii=False) + "\n")
    return "".join(lines)
