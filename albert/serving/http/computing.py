"""A batch of requests through a predictor: rows of several of them at once, to each its own results. No TensorFlow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from albert.serving.batching import Part
from albert.serving.http.body import Asked, Request, Tagged, check_number
from albert.serving.inputs import Texts
from albert.serving.outputs import vector_rows
from albert.tasks.race import RaceExample
from albert.tasks.squad.files import Paragraph, Question

if TYPE_CHECKING:
    from albert.serving.predictor import Predictor


class Computing:
    """Computes the parts of a batch; see `batching.Compute`.

    `embeddings` is the pooling where vectors are wanted instead of predictions.
    """

    def __init__(self, predictor: "Predictor", embeddings: str | None):
        self.predictor = predictor
        self._embeddings = embeddings

    def __call__(self, parts: Sequence[Part[Request]]) -> list[list[Any]]:
        """The results of each row: lists of records as many as its request wants, or vectors."""
        rows = [row for part in parts for row in part.rows]
        # All that any of them wants; each then keeps its own.
        wanted = [part.request.top_k for part in parts]
        top_k = 0 if 0 in wanted else max(wanted)
        is_open_ended = any(part.request.is_open_ended for part in parts)  # otherwise nothing takes a threshold
        least = min(part.request.threshold for part in parts) if is_open_ended else None
        found = iter(self._results(rows, top_k, least))
        kept = [[self._kept(next(found), part.request) for _ in part.rows] for part in parts]
        for part, results in zip(parts, kept, strict=True):
            if part.request.is_open_ended:  # of one part already: the others need not be computed
                check_number(sum(map(len, results)), part.request.threshold)
        return kept

    def _kept(self, results: list[Any], request: Request) -> list[Any]:
        if self._embeddings:
            return results
        if request.is_open_ended:
            return [result for result in results if result["score"] >= request.threshold]
        return results[: request.top_k or None]

    def _results(self, rows: Sequence[Any], top_k: int, threshold: float | None) -> list[list[Any]]:
        predictor = self.predictor
        if isinstance(rows[0], Asked):
            asked = [Question(str(number), row.question, (), False) for number, row in enumerate(rows)]
            pairs = zip(rows, asked, strict=True)
            return predictor.answer_all([Paragraph(row.context, (it,), "", 0, False) for row, it in pairs], top_k)
        if isinstance(rows[0], RaceExample):
            return predictor.choose_all(rows, top_k)
        if isinstance(rows[0], Tagged):
            return [[result] for result in predictor.tag([row.text for row in rows])]
        assert isinstance(rows[0], Texts), "what is neither answered nor chosen among, and has no tags"
        firsts = [row.first for row in rows]
        seconds = None if rows[0].second is None else [row.second for row in rows]
        if self._embeddings:
            return vector_rows(predictor.encode(firsts, seconds, self._embeddings))
        found = predictor(firsts, seconds, top_k, threshold)
        return [row if isinstance(row, list) else [row] for row in found]
