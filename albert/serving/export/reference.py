"""What an export must compute: outputs of the model itself for a few texts that are hard to get right."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from albert.errors import UserError
from albert.heads.span import SpanHead
from albert.heads.tags import TagHead
from albert.modeling import TokenLayout, encode
from albert.serving.loading import LoadedModel, load_model
from albert.tasks.base import Choice, Span, Tags
from albert.tasks.text import build_pair_features
from albert.weights.names import POOLER

# `input_ids`, `attention_mask`, `token_type_ids`, int32 [n, L]. Of a model that chooses among k options, the rows of a
# question follow each other: n is a multiple of k.
Rows = Mapping[str, np.ndarray]
# By the model, float32:
#   labels, score     logits [n, C] or [n, 1]
#   choice            logits [n / k, k]
#   tags              logits [n, L, C], of padding too
#   SQuAD 1.1         start_logits, end_logits [n, L], of padding too
#   SQuAD 2.0         the float32 ones of `heads.span.SpanHeadV2.predict`; which positions they are of is not compared
#   anything else     sequence_output [n, L, H]; pooled_output [n, H] where the model has a pooler
Outputs = Mapping[str, np.ndarray]

# A text, or a pair. The last one is longer than any row.
TEXTS: tuple[tuple[str, str | None], ...] = (
    ("The cat sat on the mat.", None),
    ("Who wrote the play?", "The play was written in 1,602, by a left-handed poet."),
    ("", None),
    ("Le café de la gare était fermé à 7 h.", "Ça n'a pas d'importance – dit-elle."),
    ("``It's (almost) \"free\"'', he said;", "£5.00 or €6 - 1,000,000 of them, in 2010, 2011, ..."),
    ("naïve ﬁancée ½ Ⅷ ① ﹏ Straße", "東京 Привет שלום 🙂"),
    ("a", "   white  space\tin  the middle \n"),
    ("one two three four five six seven eight nine ten, " * 60, "and a second text that is long, too, " * 60),
)
# Rows are no longer than this: xxlarge computes 2.5 TFLOP for them, once as the model and once as the export.
_LONGEST = 64


def sample_rows(model: LoadedModel) -> Rows:
    """TEXTS as the model reads them, padded to one length; repeated up to a multiple of a choice's options."""
    return rows_of(model, TEXTS)


def rows_of(model: LoadedModel, texts: tuple[tuple[str, str | None], ...], longest: int = _LONGEST) -> Rows:
    """`texts` as the model reads them, padded to one length; repeated up to a multiple of a choice's options."""
    length, tokenizer = min(model.max_seq_length, longest), model.tokenizer
    encoded = [
        build_pair_features(
            tokenizer.encode(first), None if second is None else tokenizer.encode(second), length, tokenizer
        )
        for first, second in texts
    ]
    group = num_options(model)
    encoded = [encoded[number % len(encoded)] for number in range(-(-len(encoded) // group) * group)]
    rows = {
        name: np.zeros((len(encoded), length), np.int32) for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    rows["input_ids"] += tokenizer.pad_id
    for number, (ids, segments) in enumerate(encoded):
        rows["input_ids"][number, : len(ids)] = ids
        rows["attention_mask"][number, : len(ids)] = 1
        rows["token_type_ids"][number, : len(ids)] = np.minimum(segments, model.config.type_vocab_size - 1)
    return rows


def num_options(model: LoadedModel) -> int:
    """How many rows a question has: 1 but for a model that chooses."""
    output = model.description.output if model.description else None
    return output.count if isinstance(output, Choice) else 1


def reference(model: LoadedModel) -> Callable[[Rows], Outputs]:
    """From rows to the model's outputs, in float32."""
    output = model.description.output if model.description else None

    def outputs(rows: Rows) -> Outputs:
        tensors = (tf.constant(rows[name]) for name in ("input_ids", "attention_mask", "token_type_ids"))
        encoded = encode(model.config, model.weights, TokenLayout.one_per_row(*tensors))
        match output:
            case Span("1.1"):
                # With the logits of padding, which training and predicting leave out.
                found = SpanHead(model.config, softmax_over_padding=True).predict(model.weights, encoded)
                return {"start_logits": found["start_log_prob"].numpy(), "end_logits": found["end_log_prob"].numpy()}
            case Span():
                assert model.head, "what predicts has a head"
                is_masked = (rows["token_type_ids"] == 0) | (rows["input_ids"] == model.tokenizer.sep_id)
                is_masked[:, 0] = False
                features = {"p_mask": tf.constant(is_masked.astype(np.int32))}
                found = model.head.predict(model.weights, encoded, features=features)
                return compared({name: values.numpy() for name, values in found.items()})
            case Tags(names):
                assert isinstance(model.head, TagHead), "what gives tags"
                logits = model.head.token_logits(model.weights, encoded).numpy()
                return {"logits": logits.reshape(*rows["input_ids"].shape, len(names))}
            case None:
                assert encoded.sequence_output is not None, "all tokens were asked for"
                pooled = {"pooled_output": encoded.pooled_output.numpy()} if model.has_pooler else {}
                return {"sequence_output": encoded.sequence_output.numpy(), **pooled}
        assert model.head, "what predicts has a head"
        logits = model.head.predict(model.weights, encoded)["logits"].numpy()
        return {"logits": logits.reshape(len(logits), -1)}

    return outputs


def compared(outputs: Outputs) -> Outputs:
    """Those that an export is checked by: floats, without what follows from others."""
    return {name: values for name, values in outputs.items() if values.dtype == np.float32 and name != "probabilities"}


def reopened(folder: Path, model: LoadedModel) -> Callable[[Rows], Outputs]:
    """`reference` of the model that this project reads in `folder`, where all it holds is the model's, bit for bit.

    Raises UserError where it is not.
    """
    with _without_warnings():
        found = load_model(folder, "/cpu:0", with_pretraining_heads=True)
    left_out = () if found.has_pooler else POOLER
    names = sorted(set(model.weights).symmetric_difference(found.weights))
    names += [
        name for name, value in found.weights.items()
        if name in model.weights and name not in left_out and not np.array_equal(value, model.weights[name])
    ]  # fmt: skip
    if names:
        raise UserError(f"the export holds other weights than the model, among them {names[0]}; nothing was written.")
    if found.config.to_dict() != model.config.to_dict() or _output_of(found) != _output_of(model):
        raise UserError("the export is read with another configuration or labels than the model; nothing was written.")
    return reference(found)


def _output_of(model: LoadedModel) -> object:
    return model.description and model.description.output


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """What is to be said of the model was said when it was read first."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
