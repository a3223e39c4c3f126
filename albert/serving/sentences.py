"""Texts whose words get tags: the words, and what is found in them, as transformers' pipelines give it. No TensorFlow.

A text is one string, which is cut into words here, or a list of words.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from albert.errors import UserError
from albert.serving.texts import as_text, is_ordered, one_by_one
from albert.tasks.base import Tags
from albert.tasks.tags.entities import OUTSIDE, are_chunks, entities_of
from albert.tasks.tags.words import NO_PIECE, Word, words_of

Result = dict[str, Any]
NO_ENTITY = "-"
WHITE = " \t\r\n"  # of a word that is none, as in files


class Words(NamedTuple):
    """A text and its words."""

    text: str
    words: tuple[Word, ...]


def as_sentences(texts: object, sets_punctuation_apart: bool) -> list[Words]:
    """The words of one text, or of several: a string each, or a list of words.

    A list of words is a text with a blank between them. Raises TypeError for what is no text, UserError for characters
    that are none, and for an empty word.
    """
    several = [texts] if isinstance(texts, str) else one_by_one(texts, "texts")
    return [_sentence(text, f"texts[{number}]", sets_punctuation_apart) for number, text in enumerate(several)]


def _sentence(text: object, place: str, sets_punctuation_apart: bool) -> Words:
    if isinstance(text, str):
        return Words(as_text(text, place), tuple(words_of(text, sets_punctuation_apart)))
    if not is_ordered(text):
        raise TypeError(f"{place}: {type(text).__name__} is neither a text nor a list of words")
    words, start = list[Word](), 0
    for word in text:
        if not isinstance(word, str):
            raise TypeError(f"{place}: {type(word).__name__} is not a word")
        if not word.strip(WHITE):
            raise UserError(f"{place}: word {len(words) + 1} is empty; leave it out")
        words.append(Word(as_text(word, place), start, start + len(word)))
        start += len(word) + 1
    return Words(" ".join(word.text for word in words), tuple(words))


def tag_results(
    output: Tags, sentence: Words, places: Sequence[int], tags: np.ndarray, probabilities: np.ndarray
) -> Result:
    """{"entities": [{"entity_group", "score", "word", "start", "end"}], "words": [{"entity", "score", ...}]} of a text.

    `start` and `end` are characters of the text, and an entity's `word` is what stands between them. Its score is the
    mean of its words' probabilities, as with the aggregation strategy "first" of transformers. Tags that mark no
    entities, such as parts of speech, have none; a run of a tag beside "O" is one. `places` [W] are the tokens of
    `tags` and `probabilities` [S] that stand for the words; a word without any is "O", with the score 0.
    """
    numbers = [None if place == NO_PIECE else int(tags[place]) for place in places]
    names = [OUTSIDE if number is None else output.names[number] for number in numbers]
    scores = [0.0 if place == NO_PIECE else float(probabilities[place]) for place in places]
    words = [
        {"entity": name, "score": score, "word": word.text, "start": word.start, "end": word.stop}
        for name, score, word in zip(names, scores, sentence.words, strict=True)
    ]
    entities = []
    for entity in entities_of(names) if are_chunks(output.names) or OUTSIDE in output.names else ():
        start, end = sentence.words[entity.first].start, sentence.words[entity.stop - 1].stop
        score = float(np.mean(scores[entity.first : entity.stop]))
        found = {
            "entity_group": entity.type,
            "score": score,
            "word": sentence.text[start:end],
            "start": start,
            "end": end,
        }
        entities.append(found)
    return {"entities": entities, "words": words}


def tag_line(result: Result) -> str:
    """The result of a text for people: its entities, each with type and score, or its words with their tags.

    NO_ENTITY for a text whose words are all outside of entities.
    """
    if not result["entities"] and any(word["entity"] != OUTSIDE for word in result["words"]):
        return " ".join(f"{word['word']}/{word['entity']}" for word in result["words"])
    cells = ((" ".join(e["word"].split()), e["entity_group"], f"{e['score']:.4f}") for e in result["entities"])
    return "\t".join(cell for row in cells for cell in row) or NO_ENTITY
