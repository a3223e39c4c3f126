"""Masks are functions of what a unit is; how a batch is cut or packed does not reach them."""

import numpy as np
import tensorflow as tf

from albert.modeling import TokenLayout
from albert.ops.dropout import DropoutKey, attention_dropout, sequence_dropout, token_dropout


def _dropped(rows, step=3, site=1, rate=0.25):
    layout = TokenLayout.one_per_row(tf.ones([len(rows), 50], tf.int32))
    key = DropoutKey.of_layout(5, tf.constant(step), tf.constant(rows), layout.sequence_ids, layout.position_ids)
    return token_dropout(tf.ones([len(rows), 50, 40]), rate, key, site).numpy()


def test_dropout_depends_on_the_global_row_not_on_how_rows_are_split():
    whole = _dropped([0, 1, 2, 3])
    np.testing.assert_array_equal(whole[2:], _dropped([2, 3]))
    np.testing.assert_array_equal(whole[[3]], _dropped([3]))


def test_dropout_keeps_the_mean_and_differs_by_step_site_and_row():
    masks = [_dropped([0, 1]), _dropped([0, 1], step=4), _dropped([0, 1], site=2)]
    for mask in masks:
        # 4,000 units: three standard deviations of the kept share are 0.02.
        assert abs((mask > 0).mean() - 0.75) < 0.02
        np.testing.assert_allclose(mask[mask > 0], 1 / 0.75, rtol=1e-6)
    for a, b in [(masks[0], masks[1]), (masks[0], masks[2]), (masks[0][0], masks[0][1])]:
        # Independent masks agree on 0.75^2 + 0.25^2 = 0.625 of the units.
        assert abs(((a > 0) == (b > 0)).mean() - 0.625) < 0.03


def _packed_key(rows, lengths, row_length, step=3):
    """Sequences of `lengths`, all in one row."""
    sequence_ids = np.zeros([1, row_length], np.int32)
    position_ids = np.zeros([1, row_length], np.int32)
    start = 0
    for number, length in enumerate(lengths):
        sequence_ids[0, start : start + length] = number + 1
        position_ids[0, start : start + length] = range(length)
        start += length
    return DropoutKey.of_layout(
        5, tf.constant(step), tf.constant(rows), tf.constant(sequence_ids), tf.constant(position_ids)
    )


def test_a_packed_sequence_has_the_masks_it_has_alone():
    packed, alone = _packed_key([6, 9], [3, 5], row_length=10), _packed_key([9], [5], row_length=5)
    tokens = [token_dropout(tf.ones([1, n, 40]), 0.25, key, 1) for key, n in ((packed, 10), (alone, 5))]
    np.testing.assert_array_equal(tokens[0][0, 3:8], tokens[1][0])
    heads = [attention_dropout(tf.ones([1, 4, n, n]), 0.25, key, 1) for key, n in ((packed, 10), (alone, 5))]
    np.testing.assert_array_equal(heads[0][0, :, 3:8, 3:8], heads[1][0])
    pooled = [sequence_dropout(tf.ones([n, 40]), 0.25, key, 1) for key, n in ((packed, 2), (alone, 1))]
    np.testing.assert_array_equal(pooled[0][1], pooled[1][0])


def test_heads_queries_and_keys_are_dropped_independently():
    kept = attention_dropout(tf.ones([1, 4, 50, 50]), 0.25, _packed_key([0], [50], 50), 1).numpy() > 0
    assert abs(kept.mean() - 0.75) < 0.02
    # A repetition along any axis would agree everywhere; independent masks agree on 0.625 of the units.
    for a, b in ((kept[:, :-1], kept[:, 1:]), (kept[:, :, :-1], kept[:, :, 1:]), (kept[..., :-1], kept[..., 1:])):
        assert abs((a == b).mean() - 0.625) < 0.03


def test_no_key_or_no_rate_is_the_identity():
    x = tf.ones([1, 5, 3])
    assert token_dropout(x, 0.5, None, 1) is x
    assert token_dropout(x, 0.0, _packed_key([0], [5], 5), 1) is x
