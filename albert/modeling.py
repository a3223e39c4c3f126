"""ALBERT's forward pass: variables under upstream's exact TF1 names, encoder and pooler.

Owns the architecture. Knows neither checkpoints nor flags, tasks or training.

Axes used throughout the package: n sequences in R rows of L positions (upstream's rows hold one sequence each: B = R
examples, S = L positions), H hidden, E embedding, A heads, D = H/A, I intermediate, V vocabulary. The computation
follows google-research/albert (`modeling.py`); the tests compare it with numbers that code produced under
TensorFlow 1.15.

Everything here is a function of a mapping `weights` from variable name to variable or tensor, so that the engine can
pass the weights of one replica or the arguments of a compiled function.
"""

import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from albert.albert_config import ACTIVATIONS, AlbertConfig
from albert.ops.dropout import DropoutKey, attend_with_dropout, sequence_dropout, token_dropout
from albert.ops.first_tokens import attention_of_first_tokens, saves_time
from albert.ops.fused import FUSED, ElementWise, bias_add, bias_gelu

Weights = Mapping[str, "tf.Variable | tf.Tensor"]

# Upstream adds this to the scores of masked keys. Not minus infinity: a row without any real token must stay finite.
MASKED_SCORE = -10000.0


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Upstream's GELU: the tanh approximation, not the error function."""
    return bias_gelu(x, tf.zeros([x.shape[-1]]))


def get_activation(name: str | None) -> Callable[[tf.Tensor], tf.Tensor]:
    """The activation called `name`; None and "" are linear, as upstream has it. Raises KeyError for other names."""
    functions = dict(zip(ACTIVATIONS, (gelu, tf.identity, tf.nn.relu, tf.tanh), strict=True))
    return functions[(name or "linear").lower()]


@dataclasses.dataclass(frozen=True)
class VariableSpec:
    """One variable: TF1 name, shape, and how it starts (`truncated_normal` of `stddev`, `zeros` or `ones`)."""

    name: str
    shape: tuple[int, ...]
    initializer: str = "truncated_normal"
    stddev: float = 0.02

    def initial_value(self, seed: int) -> tf.Tensor:
        """A function of (seed, name) alone: the same for any order of creation and number of replicas."""
        if self.initializer == "zeros":
            return tf.zeros(self.shape)
        if self.initializer == "ones":
            return tf.ones(self.shape)
        # The upper bits of a seed were not used at first: of one that has none, the weights are as they always were.
        high = seed >> 31  # -1 of a small negative one
        name = self.name if high in (0, -1) else f"{high}/{self.name}"
        key = tf.constant([seed & 0x7FFFFFFF, zlib.crc32(name.encode()) & 0x7FFFFFFF], tf.int32)
        return tf.random.stateless_truncated_normal(self.shape, key, stddev=self.stddev, alg="philox")


def dense_specs(name: str, fan_in: int, fan_out: int, stddev: float) -> tuple[VariableSpec, VariableSpec]:
    """Kernel `[fan_in, fan_out]` and bias of a linear layer."""
    return (
        VariableSpec(f"{name}/kernel", (fan_in, fan_out), stddev=stddev),
        VariableSpec(f"{name}/bias", (fan_out,), "zeros"),
    )


def layer_norm_specs(name: str, width: int) -> tuple[VariableSpec, VariableSpec]:
    """Shift and scale of a layer normalisation over `width` units."""
    return VariableSpec(f"{name}/beta", (width,), "zeros"), VariableSpec(f"{name}/gamma", (width,), "ones")


def block_scope(group: int, inner_group: int) -> str:
    """Variable scope of one transformer block. Upstream's block counters inside it are always 1."""
    return f"bert/encoder/transformer/group_{group}/inner_group_{inner_group}"


def encoder_specs(config: AlbertConfig) -> list[VariableSpec]:
    """All encoder variables in upstream's order of creation: 25 for one group with one inner group."""
    stddev, width, hidden = config.initializer_range, config.embedding_size, config.hidden_size
    specs = [
        VariableSpec("bert/embeddings/word_embeddings", (config.vocab_size, width), stddev=stddev),
        VariableSpec("bert/embeddings/token_type_embeddings", (config.type_vocab_size, width), stddev=stddev),
        VariableSpec("bert/embeddings/position_embeddings", (config.max_position_embeddings, width), stddev=stddev),
        *layer_norm_specs("bert/embeddings/LayerNorm", width),
    ]
    if width != hidden:
        specs += dense_specs("bert/encoder/embedding_hidden_mapping_in", width, hidden, stddev)
    for group in range(config.num_hidden_groups):
        for inner_group in range(config.inner_group_num):
            specs += _block_specs(config, block_scope(group, inner_group))
    return [*specs, *dense_specs("bert/pooler/dense", hidden, hidden, stddev)]


def _block_specs(config: AlbertConfig, scope: str) -> list[VariableSpec]:
    stddev, hidden, intermediate = config.initializer_range, config.hidden_size, config.intermediate_size
    return [
        *dense_specs(f"{scope}/attention_1/self/query", hidden, hidden, stddev),
        *dense_specs(f"{scope}/attention_1/self/key", hidden, hidden, stddev),
        *dense_specs(f"{scope}/attention_1/self/value", hidden, hidden, stddev),
        *dense_specs(f"{scope}/attention_1/output/dense", hidden, hidden, stddev),
        *layer_norm_specs(f"{scope}/LayerNorm", hidden),
        *dense_specs(f"{scope}/ffn_1/intermediate/dense", hidden, intermediate, stddev),
        # Upstream opens the output's scope inside "intermediate"; the checkpoints carry that name.
        *dense_specs(f"{scope}/ffn_1/intermediate/output/dense", intermediate, hidden, stddev),
        *layer_norm_specs(f"{scope}/LayerNorm_1", hidden),
    ]


# What one block multiplies by, made from upstream's variables once a step however many layers share them. Kernels are
# in the precision of the computation; biases and normalisation stay float32, whose sums the fused operations form.
BlockWeights = dict[str, tf.Tensor]
Block = Callable[[tf.Tensor, BlockWeights], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class TokenLayout:
    """n token sequences laid out in R rows of L positions: one a row, or several one after the other ("packed").

    Attributes:
      input_ids, segment_ids: int32 [R, L]; 0 where no token is.
      position_ids: int32 [R, L], each token's place in its own sequence.
      sequence_ids: int32 [R, L], 1 + the number of the sequence that a token belongs to, 0 where none is. A token sees
        the tokens of its own sequence.
      sequence_starts: int32 [n], where each sequence begins when the rows are joined into one of R * L positions.
      sequence_lengths: int32 [n].
    """

    input_ids: tf.Tensor
    segment_ids: tf.Tensor
    position_ids: tf.Tensor
    sequence_ids: tf.Tensor
    sequence_starts: tf.Tensor
    sequence_lengths: tf.Tensor

    @classmethod
    def one_per_row(
        cls, input_ids: tf.Tensor, input_mask: tf.Tensor | None = None, segment_ids: tf.Tensor | None = None
    ) -> "TokenLayout":
        """Upstream's arguments, each [B, S]: mask 1 on tokens (default: everywhere), segments 0 or 1 (default: 0)."""
        mask = tf.ones_like(input_ids) if input_mask is None else tf.cast(input_mask, input_ids.dtype)
        rows, length = _dimensions(input_ids)
        numbers = tf.range(rows, dtype=input_ids.dtype)
        return cls(
            input_ids=input_ids,
            segment_ids=tf.zeros_like(input_ids) if segment_ids is None else segment_ids,
            position_ids=tf.broadcast_to(tf.range(length, dtype=input_ids.dtype), tf.shape(input_ids)),
            sequence_ids=(numbers[:, None] + 1) * mask,
            sequence_starts=numbers * length,
            sequence_lengths=tf.reduce_sum(mask, axis=1),
        )

    def token_counts(self) -> tf.Tensor:
        """float32 [2]: tokens, and positions in all."""
        is_token = tf.cast(self.sequence_ids != 0, tf.float32)
        return tf.stack([tf.reduce_sum(is_token), tf.cast(tf.size(is_token), tf.float32)])

    def score_bias(self) -> tf.Tensor:
        """[R, 1, L, L] float32: 0 where a query (third axis) sees a key (fourth), MASKED_SCORE where not.

        A position without a token sees every token of its row, so that a row with one sequence is what upstream
        computes, there too. Nothing else depends on what such positions compute.
        """
        query, key = self.sequence_ids[:, :, None], self.sequence_ids[:, None, :]
        visible = (key != 0) & ((query == 0) | (query == key))
        return tf.where(visible, 0.0, MASKED_SCORE)[:, None]


@dataclasses.dataclass(frozen=True)
class EncoderOutput:
    """What the encoder returns, over R rows of L positions that hold n sequences.

    word_embedding_output and embedding_output [R, L, E]; all_layer_outputs: one [R, L, H] per layer and inner group;
    sequence_output [R, L, H] (the last of them); pooled_output [n, H] float32, the tanh of a linear layer on the first
    token of each sequence. If only the first tokens were asked for, the last layer's output is [n, H], and
    sequence_output is None.
    """

    word_embedding_output: tf.Tensor
    embedding_output: tf.Tensor
    all_layer_outputs: tuple[tf.Tensor, ...]
    sequence_output: tf.Tensor | None
    pooled_output: tf.Tensor
    layout: TokenLayout


@dataclasses.dataclass(frozen=True)
class Computation:
    """How the encoder computes, which changes no result beyond rounding.

    dtype: of activations and matrix products; statistics, softmax, biases and all behind the encoder are float32.
    recompute: keep only each block's input for the backward pass, and compute the block a second time there.
    element_wise: in which form everything between matrix products is computed.
    gather: looks up embeddings, as `tf.gather`; which one decides how their gradient is added up.
    sums_by_layer: add up the gradients of shared matrices layer by layer, instead of keeping one for each layer.
    """

    dtype: tf.DType = tf.float32
    recompute: bool = False
    element_wise: ElementWise = FUSED
    gather: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.gather
    sums_by_layer: bool = False


FLOAT32 = Computation()


def encode(
    config: AlbertConfig,
    weights: Weights,
    layout: TokenLayout,
    dropout_key: DropoutKey | None = None,
    computation: Computation = FLOAT32,
    first_tokens_only: bool = False,
) -> EncoderOutput:
    """Runs embeddings, transformer and pooler with float32 `weights`.

    Without a `dropout_key` there is no dropout. With `first_tokens_only` everything behind the attention of the last
    block is computed for the first token of each sequence alone, which is all that the pooler reads; without a
    `dropout_key`, which training has, the attention is too. Raises ValueError when rows have a length that is known and
    more than `max_position_embeddings`: of several lengths, which packed rows have, some may be, since each sequence
    has positions from 0.
    """
    length = layout.input_ids.shape[1]
    if length is not None and length > config.max_position_embeddings:
        raise ValueError(f"{length} positions, but the model has {config.max_position_embeddings}")
    words, embedded = _embed(config, weights, layout, dropout_key, computation)
    x = tf.cast(embedded, computation.dtype)
    if config.embedding_size != config.hidden_size:
        x = dense(x, weights, "bert/encoder/embedding_hidden_mapping_in")
    use_block = _shared_blocks(weights, computation)
    score_bias = layout.score_bias()
    outputs: list[tf.Tensor] = []
    for layer in range(config.num_hidden_layers):
        # Upstream's expression, in floating point: an exact one would differ for a few odd pairs such as 49 and 49.
        group = int(layer / config.num_hidden_layers * config.num_hidden_groups)
        for inner_group in range(config.inner_group_num):
            is_last = len(outputs) + 1 == config.num_hidden_layers * config.inner_group_num
            starts = layout.sequence_starts if is_last and first_tokens_only else None
            block = functools.partial(
                _block, config, computation.element_wise, score_bias, dropout_key, len(outputs), starts
            )
            x, shared = use_block(block_scope(group, inner_group), x)
            x = _recomputed(block)(x, shared) if computation.recompute else block(x, shared)
            outputs.append(x)
    first_tokens = x if first_tokens_only else _gather_tokens(x, layout.sequence_starts)
    pooled = tf.tanh(dense(tf.cast(first_tokens, tf.float32), weights, "bert/pooler/dense"))
    sequence_output = None if first_tokens_only else x
    return EncoderOutput(words, embedded, tuple(outputs), sequence_output, pooled, layout)


def _gather_tokens(x: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """[R, L, H] -> [n, H]: the tokens at `places` [n] of the joined rows."""
    return tf.gather(tf.reshape(x, [-1, x.shape[-1]]), places)


def _recomputed(block: Block) -> Block:
    """`block` without its activations kept. Only arguments that are tensors get gradients: hence the list."""

    def recomputed(x: tf.Tensor, weights: BlockWeights) -> tf.Tensor:
        return tf.recompute_grad(lambda x, *values: block(x, dict(zip(weights, values, strict=True))))(
            x, *weights.values()
        )

    return recomputed


def dense(x: tf.Tensor, weights: Weights, name: str) -> tf.Tensor:
    """[..., fan_in] -> [..., fan_out] in the precision of `x`."""
    return linear(x, tf.cast(weights[f"{name}/kernel"], x.dtype), weights[f"{name}/bias"])


def linear(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor | None = None,
    add: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = bias_add,
) -> tf.Tensor:
    """[..., fan_in] -> [..., fan_out]. One two-dimensional product: faster than a batched one with shared kernels."""
    y = tf.matmul(tf.reshape(x, [-1, kernel.shape[0]]), kernel)
    if bias is not None:
        y = add(y, bias)
    return tf.reshape(y, [*_dimensions(x)[:-1], kernel.shape[1]])


def _dimensions(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape of `x`, static where it is known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]


def _embed(
    config: AlbertConfig,
    weights: Weights,
    layout: TokenLayout,
    dropout_key: DropoutKey | None,
    computation: Computation,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Word embeddings alone, and their normalised sum with segment and position embeddings; both [R, L, E] float32."""
    words = computation.gather(weights["bert/embeddings/word_embeddings"], layout.input_ids)
    # A product with one-hot rows: the table has two rows, and its gradient stays dense.
    segments = linear(
        tf.one_hot(layout.segment_ids, config.type_vocab_size), weights["bert/embeddings/token_type_embeddings"]
    )
    positions = computation.gather(weights["bert/embeddings/position_embeddings"], layout.position_ids)
    norm = "bert/embeddings/LayerNorm"
    zeros = tf.zeros([config.embedding_size])
    beta, gamma = weights[f"{norm}/beta"], weights[f"{norm}/gamma"]
    embedded = computation.element_wise.add_layer_norm(words + segments, zeros, positions, beta, gamma)
    return words, token_dropout(embedded, config.hidden_dropout_prob, dropout_key, site=0)


def _shared_blocks(
    weights: Weights, computation: Computation
) -> Callable[[str, tf.Tensor], tuple[tf.Tensor, BlockWeights]]:
    """The function from a scope and a layer's input to what `_block` takes, for each layer with the weights of it."""
    in_float32: dict[str, BlockWeights] = {}
    in_precision: dict[str, BlockWeights] = {}

    def use(scope: str, x: tf.Tensor) -> tuple[tf.Tensor, BlockWeights]:
        if scope not in in_float32:
            in_float32[scope] = _block_weights(weights, scope)
        elif computation.sums_by_layer:
            matrices = _matrices(in_float32[scope])
            x, *same = computation.element_wise.next_layer(x, *matrices.values())
            in_float32[scope] = {**in_float32[scope], **dict(zip(matrices, same, strict=True))}
        else:
            return x, in_precision[scope]
        matrices = _matrices(in_float32[scope])
        cast = {name: tf.cast(weight, computation.dtype) for name, weight in matrices.items()}
        in_precision[scope] = {**in_float32[scope], **cast}
        return x, in_precision[scope]

    return use


def _block_weights(weights: Weights, scope: str) -> BlockWeights:
    """What `_block` takes, float32. Query, key and value are one matrix: one product instead of three."""
    attention, intermediate = f"{scope}/attention_1", f"{scope}/ffn_1/intermediate"
    selves = [f"{attention}/self/{name}" for name in ("query", "key", "value")]
    return {
        "qkv": tf.concat([weights[f"{name}/kernel"] for name in selves], axis=1),
        "qkv_bias": tf.concat([weights[f"{name}/bias"] for name in selves], axis=0),
        "attention_output": weights[f"{attention}/output/dense/kernel"],
        "attention_output_bias": weights[f"{attention}/output/dense/bias"],
        "attention_beta": weights[f"{scope}/LayerNorm/beta"],
        "attention_gamma": weights[f"{scope}/LayerNorm/gamma"],
        "intermediate": weights[f"{intermediate}/dense/kernel"],
        "intermediate_bias": weights[f"{intermediate}/dense/bias"],
        "output": weights[f"{intermediate}/output/dense/kernel"],
        "output_bias": weights[f"{intermediate}/output/dense/bias"],
        "output_beta": weights[f"{scope}/LayerNorm_1/beta"],
        "output_gamma": weights[f"{scope}/LayerNorm_1/gamma"],
    }


def _matrices(block: BlockWeights) -> BlockWeights:
    """Without biases and scales."""
    return {name: weight for name, weight in block.items() if weight.shape.rank == 2}


def _block(
    config: AlbertConfig,
    element_wise: ElementWise,
    score_bias: tf.Tensor,
    dropout_key: DropoutKey | None,
    index: int,
    starts: tf.Tensor | None,
    x: tf.Tensor,
    block: BlockWeights,
) -> tf.Tensor:
    """One post-normalised transformer block, [R, L, H] -> [R, L, H]; `index` counts blocks from the input.

    With `starts` [n] the output is that of these tokens of the joined rows only, which begin sequences: [n, H].
    """
    site = 1 + 3 * index
    dropout = token_dropout if starts is None else sequence_dropout

    def add_and_normalise(y, bias, residual, beta, gamma, site):
        if dropout_key is not None and config.hidden_dropout_prob > 0:
            y = element_wise.bias_add(y, bias)
            y, bias = dropout(y, config.hidden_dropout_prob, dropout_key, site), tf.zeros_like(bias)
        return element_wise.add_layer_norm(y, bias, residual, beta, gamma)

    qkv = block["qkv"], block["qkv_bias"], score_bias
    if starts is None:
        context = _self_attention(config, element_wise, x, *qkv, dropout_key, site)
    elif dropout_key is None and saves_time(x, starts):
        context = attention_of_first_tokens(x, starts, *qkv, config.num_attention_heads, element_wise)
    else:
        context = _gather_tokens(_self_attention(config, element_wise, x, *qkv, dropout_key, site), starts)
    if starts is not None:
        x = _gather_tokens(x, starts)
    attention_output = linear(context, block["attention_output"])
    attended = add_and_normalise(
        attention_output, block["attention_output_bias"], x, block["attention_beta"], block["attention_gamma"], site + 1
    )
    activate = functools.partial(_bias_activation, config.hidden_act, element_wise)
    hidden = activate(linear(attended, block["intermediate"]), block["intermediate_bias"])
    output = linear(hidden, block["output"])
    return add_and_normalise(
        output, block["output_bias"], attended, block["output_beta"], block["output_gamma"], site + 2
    )


def _bias_activation(name: str | None, element_wise: ElementWise, x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    activation = get_activation(name)
    if activation is gelu:
        return element_wise.bias_gelu(x, bias)
    return activation(element_wise.bias_add(x, bias))


def _self_attention(
    config: AlbertConfig,
    element_wise: ElementWise,
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    score_bias: tf.Tensor,
    dropout_key: DropoutKey | None,
    site: int,
) -> tf.Tensor:
    """softmax(q k^T / sqrt(D) + score_bias) v over all heads, [R, L, H] -> [R, L, H]; float32 softmax.

    `kernel` [H, 3 H] and `bias` [3 H] make queries, keys and values, in this order (Vaswani et al. 2017, section 3.2).
    """
    rows, length, width = _dimensions(x)
    num_heads = config.num_attention_heads
    head_width = width // num_heads  # AlbertConfig checks that it divides
    qkv = tf.reshape(linear(x, kernel, bias, element_wise.bias_add), [rows, length, 3, num_heads, head_width])
    query, key, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # each [R, A, L, D]
    scores = tf.matmul(query, key, transpose_b=True)  # [R, A, L, L]
    probabilities = element_wise.masked_softmax(scores, score_bias, 1.0 / math.sqrt(head_width))
    context = attend_with_dropout(probabilities, value, config.attention_probs_dropout_prob, dropout_key, site)
    context = tf.transpose(context, [0, 2, 1, 3])
    return tf.reshape(context, [rows, length, width])


class AlbertModel(tf.Module):
    """The encoder together with its variables, and those of a head if its specs are given.

    `weights` maps TF1 names to variables in upstream's order of creation. Build it inside `strategy.scope()` to mirror
    the variables. Without a seed all are zero: for weights that come from a file, a large model is there in half the
    time and memory. Calling the model runs the encoder without dropout.
    """

    def __init__(self, config: AlbertConfig, head_specs: Sequence[VariableSpec] = (), seed: int | None = 0):
        super().__init__(name="albert")
        self.config = config
        self.weights = {
            spec.name: tf.Variable(tf.zeros(spec.shape) if seed is None else spec.initial_value(seed), name=spec.name)
            for spec in (*encoder_specs(config), *head_specs)
        }

    def __call__(
        self, input_ids: tf.Tensor, input_mask: tf.Tensor | None = None, segment_ids: tf.Tensor | None = None
    ) -> EncoderOutput:
        return encode(self.config, self.weights, TokenLayout.one_per_row(input_ids, input_mask, segment_ids))
