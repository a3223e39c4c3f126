"""Dropout by a counter hash: whether a unit is dropped depends on what it is, never on where or when it is computed.

Owns the hash and the three shapes it is applied to. A mask is a function of (seed, step, site, row of the global batch,
position in the row's sequence, unit), so it does not change with the number of replicas, with how a batch is cut into
micro-batches or packed into rows, or when activations are computed a second time.
"""

import dataclasses

import tensorflow as tf

from albert.ops.compiled import CompiledOnce


@dataclasses.dataclass(frozen=True)
class DropoutKey:
    """What decides the masks of one step, for R rows of L positions that hold n sequences."""

    seed: int  # its lower 32 bits count
    step: tf.Tensor  # [] integer
    sequence_rows: tf.Tensor  # int32 [n], each sequence's row in the global batch
    token_rows: tf.Tensor  # int32 [R, L], the same for each token
    position_ids: tf.Tensor  # int32 [R, L], each token's place in its sequence

    @classmethod
    def of_layout(
        cls, seed: int, step: tf.Tensor, sequence_rows: tf.Tensor, sequence_ids: tf.Tensor, position_ids: tf.Tensor
    ) -> "DropoutKey":
        """The key of n sequences whose tokens `sequence_ids` [R, L] counts from 1 (0: no token)."""
        token_rows = tf.gather(sequence_rows, tf.maximum(sequence_ids - 1, 0))
        return cls(seed, step, sequence_rows, token_rows, position_ids)


def token_dropout(x: tf.Tensor, rate: float, key: DropoutKey | None, site: int) -> tf.Tensor:
    """Inverted dropout of `x` [R, L, units]; identity without a key (not training) or at rate 0.

    `site` numbers the place in the model, so that no two places share a mask.
    """
    if key is None or rate == 0:
        return x
    keep = _keep_scale(key.step, key.token_rows, key.position_ids, *_constants(key, site, rate), units=x.shape[-1])
    return x * tf.cast(keep, x.dtype)


def sequence_dropout(x: tf.Tensor, rate: float, key: DropoutKey | None, site: int) -> tf.Tensor:
    """The same for `x` [n, units], one row a sequence."""
    if key is None or rate == 0:
        return x
    rows = key.sequence_rows[:, None]
    keep = _keep_scale(key.step, rows, tf.zeros_like(rows), *_constants(key, site, rate), units=x.shape[-1])
    return x * tf.cast(keep[:, 0], x.dtype)


def attend_with_dropout(
    probabilities: tf.Tensor, values: tf.Tensor, rate: float, key: DropoutKey | None, site: int
) -> tf.Tensor:
    """`values` [R, A, L, D] weighted by `probabilities` [R, A, L, L], of queries and keys, which are dropped alike.

    The backward pass computes the mask again: otherwise every layer keeps a second [R, A, L, L], at long rows the
    largest tensor there is.
    """
    if key is None or rate == 0:
        return tf.matmul(probabilities, values)
    constants, num_heads = _constants(key, site, rate), probabilities.shape[1]

    def keep_scale(step: tf.Tensor) -> tf.Tensor:
        keep = _attention_keep_scale(step, key.token_rows, key.position_ids, *constants, num_heads=num_heads)
        return tf.cast(keep, probabilities.dtype)

    @tf.custom_gradient
    def product(probabilities: tf.Tensor, values: tf.Tensor):
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            keep = keep_scale(_unknown_without(dy, key.step))
            of_probabilities = tf.matmul(dy, values, transpose_b=True) * keep
            return of_probabilities, tf.matmul(probabilities * keep, dy, transpose_a=True)

        return tf.matmul(probabilities * keep_scale(key.step), values), gradient

    return product(probabilities, values)


def _unknown_without(dy: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """`step`, as far as a compiler can tell only after `dy`: it would otherwise see one mask twice, and keep it.

    Where the first number of `dy` is NaN it is another step; then so is the gradient, and nothing is updated.
    """
    is_nan = tf.math.is_nan(tf.reshape(dy, [-1])[0])
    return step + tf.cast(is_nan, step.dtype)


def _constants(key: DropoutKey, site: int, rate: float) -> tuple[tf.Tensor, tf.Tensor]:
    """int64 (seed, site, threshold), and what is multiplied with the units that are kept."""
    threshold = min(int(rate * 2**32), 2**32 - 1)
    return tf.constant([key.seed & 0xFFFFFFFF, site, threshold], tf.int64), tf.constant(1.0 / (1.0 - rate), tf.float32)


# Compiled: one pass instead of a dozen. Unsigned numbers exist only inside, because GPUs have few kernels for them
# outside compiled code.


@CompiledOnce
def _keep_scale(step, rows, positions, seed_site_threshold, scale, units: int):
    """[R, L, units]: 0 where a unit of a token is dropped, `scale` elsewhere."""
    key, threshold = _key_of_rows(step, rows, seed_site_threshold)
    key = _with_counter(key, positions, 0x85EBCA77)
    bits = _with_counter(key[..., None], tf.range(units), 0xC2B2AE3D)
    return tf.where(bits < threshold, tf.constant(0.0), scale)


@CompiledOnce
def _attention_keep_scale(step, rows, positions, seed_site_threshold, scale, num_heads: int):
    """[R, A, L, L]: the same, where (query, head) is the position and the key's place in its sequence the unit."""
    key, threshold = _key_of_rows(step, rows, seed_site_threshold)
    queries = positions[:, None, :] * num_heads + tf.range(num_heads)[None, :, None]
    key = _with_counter(key[:, None, :], queries, 0x85EBCA77)
    bits = _with_counter(key[..., None], positions[:, None, None, :], 0xC2B2AE3D)
    return tf.where(bits < threshold, tf.constant(0.0), scale)


def _key_of_rows(step, rows, seed_site_threshold):
    seed, site, threshold = tf.unstack(tf.cast(seed_site_threshold, tf.uint32))
    return _with_counter(_mix(_mix(_mix(seed) ^ tf.cast(step, tf.uint32)) ^ site), rows, 0x9E3779B1), threshold


def _with_counter(key, counter, odd: int):
    """A new key for each value of `counter`; an odd factor spreads small numbers over all bits."""
    return _mix(key ^ (tf.cast(counter, tf.uint32) * tf.constant(odd, tf.uint32)))


def _mix(h: tf.Tensor) -> tf.Tensor:
    """The 32-bit finaliser of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit."""
    h = (h ^ tf.bitwise.right_shift(h, 16)) * tf.constant(0x85EBCA6B, tf.uint32)
    h = (h ^ tf.bitwise.right_shift(h, 13)) * tf.constant(0xC2B2AE35, tf.uint32)
    return h ^ tf.bitwise.right_shift(h, 16)
