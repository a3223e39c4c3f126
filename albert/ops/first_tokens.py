"""The attention of the first token of each sequence alone, which is all that a pooler reads of the last block.

Forward only: training computes keys and values, whose kernels it has the gradients of.
"""

import math

import tensorflow as tf

from albert.ops.fused import ElementWise

# The rows of so many sequences a row are copied in less time than their keys and values are computed.
_MOST_COPIES = 4


def saves_time(x: tf.Tensor, starts: tf.Tensor) -> bool:
    """Whether `attention_of_first_tokens` is faster than attention: by shapes, which an exported model leaves open."""
    rows, sequences = x.shape[0], starts.shape[0]
    return rows is not None and sequences is not None and (rows == 1 or sequences <= _MOST_COPIES * rows)


def attention_of_first_tokens(
    x: tf.Tensor,
    starts: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    score_bias: tf.Tensor,
    num_heads: int,
    element_wise: ElementWise,
) -> tf.Tensor:
    """softmax(q k^T / sqrt(D) + score_bias) v of the tokens at `starts` [n] of the joined rows, [R, L, H] -> [n, H].

    `kernel` [H, 3 H] and `bias` [3 H] make queries, keys and values; `score_bias` is [R, 1, L, L]. R, L and n are
    static. No token needs a key or a value: q . (W_k x + b_k) = (W_k^T q) . x + q . b_k, of which the last is the same
    for all tokens, so that the softmax leaves it out; and sum p (W_v x + b_v) = W_v (sum p x) + b_v.
    """
    rows, length, width = x.shape
    count, head_width = starts.shape[0], width // num_heads
    query_kernel, key_kernel, value_kernel = tf.split(kernel, 3, axis=1)
    query_bias, _, value_bias = tf.split(bias, 3)

    def by_head(y: tf.Tensor) -> tf.Tensor:
        """[m, H] -> [A, m, D]."""
        return tf.transpose(tf.reshape(y, [-1, num_heads, head_width]), [1, 0, 2])

    # Sequences of one row share it; of several, each has a copy of its own.
    own_rows = x if rows == 1 else tf.gather(x, starts // length)  # [r, L, H], r = 1 or n
    asking = num_heads * (count if rows == 1 else 1)  # queries of each of the r rows
    first = tf.gather(tf.reshape(x, [-1, width]), starts)
    query = by_head(element_wise.bias_add(tf.matmul(first, query_kernel), query_bias))
    asked = tf.transpose(tf.matmul(query, by_head(key_kernel), transpose_b=True), [1, 0, 2])  # [n, A, H]
    scores = tf.matmul(tf.reshape(asked, [-1, asking, width]), own_rows, transpose_b=True)
    own_bias = tf.gather(tf.reshape(score_bias, [-1, length]), starts)[:, None, None]
    scores = tf.reshape(scores, [count, num_heads, 1, length])
    probabilities = element_wise.masked_softmax(scores, own_bias, 1.0 / math.sqrt(head_width))
    mixed = tf.matmul(tf.reshape(probabilities, [-1, asking, length]), own_rows)
    mixed = tf.transpose(tf.reshape(mixed, [count, num_heads, width]), [1, 0, 2])  # [A, n, H]
    context = tf.transpose(tf.matmul(mixed, by_head(value_kernel)), [1, 0, 2])
    return element_wise.bias_add(tf.reshape(context, [count, width]), value_bias)
