"""The peer that packs ("flattens"): examples one after the other in rows, where each sees itself alone. Needs PyTorch.

transformers has no packing for ALBERT's heads. This is written on what it offers: a mask of four dimensions, which its
attention takes as it is, and position ids that begin anew in each example.
"""

import numpy as np
import torch
from torch.nn import functional
from transformers.modeling_outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput

from albert.data import packing
from benchmarks.race.common import Rows


class Flattened(torch.nn.Module):
    """A classifier or span model of the library on packed rows: its weights, and its loss on padded rows."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, places: torch.Tensor, is_token: torch.Tensor, labels: torch.Tensor | None = None, **rows: torch.Tensor
    ) -> SequenceClassifierOutput | QuestionAnsweringModelOutput:
        """Loss and logits of B examples.

        Args:
          places: int64 [B, W], where the tokens of an example are when all rows are joined; W is the longest's length.
          is_token: bool [B, W], which of them there are.
          labels: int64 [B] classes, float32 [B] scores or int64 [B, 2] first and last tokens.
          rows: input_ids, token_type_ids and position_ids int64 [R, S], attention_mask bool [R, 1, S, S].
        """
        states = self.model.albert(**rows).last_hidden_state.flatten(0, 1)  # [R * S, H]
        if hasattr(self.model, "qa_outputs"):
            return self._spans(states, places, is_token, labels)
        pooled = self.model.albert.pooler_activation(self.model.albert.pooler(states[places[:, 0]]))
        logits = self.model.classifier(self.model.dropout(pooled))
        if labels is None:
            return SequenceClassifierOutput(logits=logits)
        is_score = labels.is_floating_point()
        loss = functional.mse_loss(logits[:, 0], labels) if is_score else functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _spans(self, states, places, is_token, labels) -> QuestionAnsweringModelOutput:
        # Among an example's own tokens. On padded rows the library also counts the logits of the padding.
        logits = self.model.qa_outputs(states)[places].masked_fill(~is_token[..., None], -torch.inf)  # [B, W, 2]
        first, last = logits.unbind(-1)
        if labels is None:
            return QuestionAnsweringModelOutput(start_logits=first, end_logits=last)
        losses = [functional.cross_entropy(ends, labels[:, i]) for i, ends in enumerate((first, last))]
        return QuestionAnsweringModelOutput(loss=sum(losses) / 2, start_logits=first, end_logits=last)


def packed(rows: Rows, numbers: np.ndarray, row_length: int) -> dict[str, np.ndarray]:
    """The rows `numbers` packed best-fit decreasing into rows of `row_length`, as `Flattened` takes them.

    Where no row is full they are cut to the fullest.
    """
    lengths = rows.lengths[numbers]
    starts, num_rows = packing.pack(lengths, row_length)
    width = int((starts % row_length + lengths).max())
    starts = (starts // row_length * width + starts % row_length).astype(np.int32)
    places, positions, examples = packing.token_positions(lengths, starts)
    ids, segments = (np.concatenate(parts) for parts in zip(*map(rows.row, numbers), strict=True))

    def in_rows(values: np.ndarray) -> np.ndarray:
        flat = np.zeros(num_rows * width, np.int64)
        flat[places] = values
        return flat.reshape(num_rows, width)

    # What is no token sees what is none either: a softmax over nothing would be no number.
    owners = in_rows(examples + 1)
    offsets = np.arange(lengths.max())
    is_token = offsets < lengths[:, None]
    return {
        "input_ids": in_rows(ids),
        "token_type_ids": in_rows(segments),
        "position_ids": in_rows(positions),
        "attention_mask": (owners[:, :, None] == owners[:, None, :])[:, None],
        "places": np.where(is_token, starts[:, None] + offsets, 0).astype(np.int64),
        "is_token": is_token,
    }
