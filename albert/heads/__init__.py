"""Heads: from the encoder's output to predictions, and from those to a loss."""

from albert.albert_config import AlbertConfig
from albert.heads.base import Head
from albert.heads.pooled import ChoiceHead, ClassificationHead, MultiLabelHead, RegressionHead
from albert.heads.span import SpanHead, SpanHeadV2
from albert.heads.tags import TagHead
from albert.tasks.base import Choice, Labels, MultiLabels, Output, Score, Span, Tags


def head_for(output: Output, config: AlbertConfig) -> Head:
    """The head that predicts `output` on top of the encoder of `config`."""
    match output:
        case Labels(names):
            return ClassificationHead(config, num_labels=len(names))
        case MultiLabels(names):
            return MultiLabelHead(config, num_labels=len(names))
        case Score():
            return RegressionHead(config)
        case Tags(names):
            return TagHead(config, num_tags=len(names))
        case Choice(count, dropout_rate):
            return ChoiceHead(config, dropout_rate=dropout_rate, num_choices=count)
        case Span("1.1"):
            return SpanHead(config)
        case Span(_, start_n_top, end_n_top, dropout_rate):
            return SpanHeadV2(config, start_n_top, end_n_top, dropout_rate)
