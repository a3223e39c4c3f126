"""Masks are functions of what a unit is; how a batch is cut or packed does not reach them."""

import numpy as np
import pytest
import tensorflow as tf

from albert.modeling import TokenLayout
from albert.ops.dropout import DropoutKey, attend_with_dropout, sequence_dropout, token_dropout


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


def _attention_mask(length, key):
    """[1, 4, L, L]: what attention probabilities of 1 become."""
    return attend_with_dropout(tf.ones([1, 4, length, length]), tf.eye(length, batch_shape=[1, 4]), 0.25, key, 1)


def test_a_packed_sequence_has_the_masks_it_has_alone():
    packed, alone = _packed_key([6, 9], [3, 5], row_length=10), _packed_key([9], [5], row_length=5)
    tokens = [token_dropout(tf.ones([1, n, 40]), 0.25, key, 1) for key, n in ((packed, 10), (alone, 5))]
    np.testing.assert_array_equal(tokens[0][0, 3:8], tokens[1][0])
    heads = [_attention_mask(n, key) for key, n in ((packed, 10), (alone, 5))]
    np.testing.assert_array_equal(heads[0][0, :, 3:8, 3:8], heads[1][0])
    pooled = [sequence_dropout(tf.ones([n, 40]), 0.25, key, 1) for key, n in ((packed, 2), (alone, 1))]
    np.testing.assert_array_equal(pooled[0][1], pooled[1][0])


def test_heads_queries_and_keys_are_dropped_independently():
    kept = _attention_mask(50, _packed_key([0], [50], 50)).numpy() > 0
    assert abs(kept.mean() - 0.75) < 0.02
    # A repetition along any axis would agree everywhere; independent masks agree on 0.625 of the units.
    for a, b in ((kept[:, :-1], kept[:, 1:]), (kept[:, :, :-1], kept[:, :, 1:]), (kept[..., :-1], kept[..., 1:])):
        assert abs((a == b).mean() - 0.625) < 0.03


@pytest.mark.parametrize("is_compiled", [False, True])
def test_the_backward_pass_of_attention_has_the_mask_of_the_forward_pass(is_compiled):
    random = np.random.default_rng(1)
    probabilities, values, dy = (
        tf.constant(random.normal(size=shape), tf.float32) for shape in ([1, 4, 9, 9], [1, 4, 9, 3], [1, 4, 9, 3])
    )
    key = _packed_key([6, 9], [3, 5], row_length=9)

    @tf.function(jit_compile=is_compiled)
    def gradients(product):
        with tf.GradientTape() as tape:
            tape.watch([probabilities, values])
            y = product(probabilities, values)
        return tape.gradient(y, [probabilities, values], dy)

    mask = _attention_mask(9, key)
    expected = gradients(lambda p, v: tf.matmul(p * mask, v))
    found = gradients(lambda p, v: attend_with_dropout(p, v, 0.25, key, 1))
    for name, a, b in zip(("probabilities", "values"), found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=name)


def test_no_key_or_no_rate_is_the_identity():
    x = tf.ones([1, 5, 3])
    assert token_dropout(x, 0.5, None, 1) is x
    assert token_dropout(x, 0.0, _packed_key([0], [5], 5), 1) is x
    p, v = tf.ones([1, 2, 5, 5]), tf.ones([1, 2, 5, 3])
    np.testing.assert_array_equal(attend_with_dropout(p, v, 0.5, None, 1), p @ v)
