"""ALBERT's forward pass: configuration, variables under upstream's exact TF1 names, encoder and pooler.

Owns the architecture and counter-based dropout. Knows neither checkpoints nor flags, tasks or training.

Axes used throughout the package: B examples, S positions, H hidden, E embedding, A heads, D = H/A, I intermediate,
V vocabulary. The computation follows google-research/albert (`modeling.py`); the tests compare it with numbers that
code produced under TensorFlow 1.15.

Everything here is a function of a mapping `weights` from variable name to variable or tensor, so that the engine can
pass the weights of one replica, a copy in another precision, or the arguments of a compiled function.
"""

import dataclasses
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from albert.settings import UserError

Weights = Mapping[str, "tf.Variable | tf.Tensor"]

# tf.contrib.layers.layer_norm, which upstream calls, adds this to the variance.
LAYER_NORM_EPSILON = 1e-12
# Upstream adds this to the scores of masked keys. Not minus infinity: a row without any real token must stay finite.
MASKED_SCORE = -10000.0


@dataclasses.dataclass(frozen=True)
class AlbertConfig:
    """Every field of upstream's `albert_config.json`; the defaults are upstream's (xxlarge).

    The last four appear in Google's released files; upstream's model ignores them, and so does this one.
    """

    vocab_size: int
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    inner_group_num: int = 1
    down_scale_factor: float = 1
    hidden_act: str | None = "gelu"
    hidden_dropout_prob: float = 0
    attention_probs_dropout_prob: float = 0
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    net_structure_type: int = 0
    gap_size: int = 0
    num_memory_blocks: int = 0
    layers_to_keep: Sequence[int] = ()

    def __post_init__(self) -> None:
        problems = _type_problems(self) or _value_problems(self)
        if problems:
            raise UserError("ALBERT config: " + "; ".join(problems))

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "AlbertConfig":
        """Raises UserError naming every unknown, missing or ill-typed key."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f"ALBERT config: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if "vocab_size" not in values:
            raise UserError("ALBERT config: vocab_size is missing")
        return cls(**values)

    @classmethod
    def from_json_file(cls, path: Path) -> "AlbertConfig":
        """Raises UserError naming the file when it is missing, not JSON, or not a valid configuration."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"--albert_config_file={path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"--albert_config_file={path} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise UserError(f"--albert_config_file={path} holds a {type(values).__name__}; a JSON object is needed")
        try:
            return cls.from_dict(values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON types."""
        return dataclasses.asdict(self) | {"layers_to_keep": list(self.layers_to_keep)}

    def to_json_string(self) -> str:
        """Indented by two and sorted, as upstream writes it."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def with_dropout(self, rate: float) -> "AlbertConfig":
        """The same architecture with both encoder dropout rates set to `rate`."""
        return dataclasses.replace(self, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)


def _type_problems(config: AlbertConfig) -> list[str]:
    accepted = {
        int: (int,),
        float: (int, float),
        str | None: (str, type(None)),
        Sequence[int]: (list, tuple),
    }
    problems = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, bool) or not isinstance(value, accepted[field.type]):
            wanted = {int: "an integer", float: "a number", str | None: "a string"}.get(
                field.type, "a list of integers"
            )
            problems.append(f"{field.name} is {value!r}, but must be {wanted}")
    return problems


def _value_problems(config: AlbertConfig) -> list[str]:
    problems = []
    positive = (
        "vocab_size embedding_size hidden_size num_hidden_layers num_hidden_groups num_attention_heads "
        "intermediate_size inner_group_num max_position_embeddings type_vocab_size initializer_range"
    ).split()
    problems += [
        f"{name} is {getattr(config, name)}, but must be above 0" for name in positive if getattr(config, name) <= 0
    ]
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if not 0 <= getattr(config, name) < 1:
            problems.append(f"{name} is {getattr(config, name)}, but must be in [0, 1)")
    if config.num_attention_heads > 0 and config.hidden_size % config.num_attention_heads:
        problems.append(f"hidden_size {config.hidden_size} is not a multiple of {config.num_attention_heads} heads")
    if config.num_hidden_groups > config.num_hidden_layers:
        problems.append(
            f"{config.num_hidden_groups} groups need as many layers, but there are {config.num_hidden_layers}"
        )
    if config.hidden_act and config.hidden_act.lower() not in _ACTIVATIONS:
        problems.append(f"hidden_act {config.hidden_act!r} is none of {', '.join(sorted(_ACTIVATIONS))}")
    return problems


_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    # Upstream's GELU is the tanh approximation, not the error function.
    "gelu": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


def get_activation(name: str | None) -> Callable[[tf.Tensor], tf.Tensor]:
    """The activation called `name`; None and "" are linear, as upstream has it. Raises KeyError for other names."""
    return _ACTIVATIONS[(name or "linear").lower()]


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
        key = tf.constant([seed & 0x7FFFFFFF, zlib.crc32(self.name.encode()) & 0x7FFFFFFF], tf.int32)
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


@dataclasses.dataclass(frozen=True)
class DropoutKey:
    """What decides which units are dropped in one step: a hash of (seed, step, site, row, position, unit).

    `rows` are row numbers in the *global* batch, so the masks do not depend on the number of replicas, on how a batch
    is cut into micro-batches, or on whether activations are computed a second time.
    """

    seed: int
    step: tf.Tensor  # [] integer
    rows: tf.Tensor  # [B] integer


def dropout(x: tf.Tensor, rate: float, key: DropoutKey | None, site: int) -> tf.Tensor:
    """Inverted dropout of `x` [B, S, units] or [B, units]; identity without a key (not training) or at rate 0.

    `site` numbers the place in the model, so that no two places share a mask.
    """
    if key is None or rate == 0:
        return x
    positions, units = (1, x.shape[1]) if x.shape.rank == 2 else (x.shape[1], x.shape[2])
    keep = _keep_scale(
        key.step,
        key.rows,
        tf.constant([key.seed & 0xFFFFFFFF, site, min(int(rate * 2**32), 2**32 - 1)], tf.int64),
        tf.constant(1.0 / (1.0 - rate), tf.float32),
        positions,
        units,
    )
    return x * tf.cast(tf.reshape(keep, tf.shape(x)), x.dtype)


@tf.function(jit_compile=True)
def _keep_scale(step, rows, seed_site_threshold, scale, positions: int, units: int):
    """[B, positions, units]: 0 where a unit is dropped, `scale` elsewhere. Compiled: one pass instead of a dozen.

    Unsigned numbers exist only in here, because GPUs have few kernels for them outside compiled code.
    """
    step, rows = tf.cast(step, tf.uint32), tf.cast(rows, tf.uint32)
    seed, site, threshold = tf.unstack(tf.cast(seed_site_threshold, tf.uint32))
    key = _mix(_mix(_mix(seed) ^ step) ^ site)
    key = _mix(key ^ (rows * tf.constant(0x9E3779B1, tf.uint32)))
    key = _mix(key[:, None] ^ (tf.cast(tf.range(positions), tf.uint32) * tf.constant(0x85EBCA77, tf.uint32)))
    bits = _mix(key[:, :, None] ^ (tf.cast(tf.range(units), tf.uint32) * tf.constant(0xC2B2AE3D, tf.uint32)))
    return tf.where(bits < threshold, tf.constant(0.0), scale)


def _mix(h: tf.Tensor) -> tf.Tensor:
    """The 32-bit finaliser of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit."""
    h = (h ^ tf.bitwise.right_shift(h, 16)) * tf.constant(0x85EBCA6B, tf.uint32)
    h = (h ^ tf.bitwise.right_shift(h, 13)) * tf.constant(0xC2B2AE35, tf.uint32)
    return h ^ tf.bitwise.right_shift(h, 16)


def dense(x: tf.Tensor, weights: Weights, name: str) -> tf.Tensor:
    """[..., fan_in] -> [..., fan_out]. One two-dimensional product: faster than a batched one with shared kernels."""
    kernel = weights[f"{name}/kernel"]
    flat = tf.reshape(x, [-1, kernel.shape[0]])
    y = tf.nn.bias_add(tf.matmul(flat, kernel), weights[f"{name}/bias"])
    return tf.reshape(y, [*_dimensions(x)[:-1], kernel.shape[1]])


def layer_norm(x: tf.Tensor, weights: Weights, name: str) -> tf.Tensor:
    """Normalises the last axis with float32 statistics whatever the precision of `x`."""
    x32 = tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(x32, axes=[-1], keepdims=True)
    gamma = tf.cast(weights[f"{name}/gamma"], tf.float32)
    beta = tf.cast(weights[f"{name}/beta"], tf.float32)
    # x * s + (beta - mean * s), as upstream evaluates it; (x - mean) * s would round differently on constant rows.
    normalised = tf.nn.batch_normalization(x32, mean, variance, beta, gamma, LAYER_NORM_EPSILON)
    return tf.cast(normalised, x.dtype)


def _dimensions(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape of `x`, static where it is known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]


def split_heads(x: tf.Tensor, num_heads: int) -> tf.Tensor:
    """[B, S, H] -> [B, A, S, D]. H is a multiple of `num_heads` (AlbertConfig checks it)."""
    batch, positions, width = _dimensions(x)
    return tf.transpose(tf.reshape(x, [batch, positions, num_heads, width // num_heads]), [0, 2, 1, 3])


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """[B, A, S, D] -> [B, S, H]."""
    batch, num_heads, positions, head_width = _dimensions(x)
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, positions, num_heads * head_width])


@dataclasses.dataclass(frozen=True)
class EncoderOutput:
    """What the encoder returns.

    embedding_output [B, S, E]; all_layer_outputs: one [B, S, H] per layer and inner group; sequence_output [B, S, H]
    (the last of them); pooled_output [B, H], the tanh of a linear layer on the first position.
    """

    word_embedding_output: tf.Tensor
    embedding_output: tf.Tensor
    all_layer_outputs: tuple[tf.Tensor, ...]
    sequence_output: tf.Tensor
    pooled_output: tf.Tensor


def encode(
    config: AlbertConfig,
    weights: Weights,
    input_ids: tf.Tensor,
    input_mask: tf.Tensor | None = None,
    segment_ids: tf.Tensor | None = None,
    dropout_key: DropoutKey | None = None,
) -> EncoderOutput:
    """Runs embeddings, transformer and pooler on `input_ids` [B, S] in the precision of `weights`.

    input_mask [B, S] is 1 on real tokens (default: everywhere), segment_ids [B, S] 0 or 1 (default: 0).
    Without a `dropout_key` there is no dropout. Raises ValueError when S exceeds `max_position_embeddings`.
    """
    if input_ids.shape[1] is not None and input_ids.shape[1] > config.max_position_embeddings:
        raise ValueError(f"{input_ids.shape[1]} positions, but the model has {config.max_position_embeddings}")
    if input_mask is None:
        input_mask = tf.ones_like(input_ids)
    if segment_ids is None:
        segment_ids = tf.zeros_like(input_ids)

    words, embedded = _embed(config, weights, input_ids, segment_ids, dropout_key)
    x = embedded
    if config.embedding_size != config.hidden_size:
        x = dense(x, weights, "bert/encoder/embedding_hidden_mapping_in")
    # [B, 1, 1, S]: keys are masked, queries are not.
    score_bias = (1.0 - tf.cast(input_mask, tf.float32))[:, None, None, :] * MASKED_SCORE
    outputs = []
    for layer in range(config.num_hidden_layers):
        # Upstream's expression, in floating point: an exact one would differ for a few odd pairs such as 49 and 49.
        group = int(layer / config.num_hidden_layers * config.num_hidden_groups)
        for inner_group in range(config.inner_group_num):
            x = _block(config, weights, block_scope(group, inner_group), x, score_bias, dropout_key, len(outputs))
            outputs.append(x)
    pooled = tf.tanh(dense(x[:, 0, :], weights, "bert/pooler/dense"))
    return EncoderOutput(words, embedded, tuple(outputs), x, pooled)


def _embed(config, weights, input_ids, segment_ids, dropout_key) -> tuple[tf.Tensor, tf.Tensor]:
    """Word embeddings alone, and their normalised sum with segment and position embeddings; both [B, S, E]."""
    words = tf.gather(weights["bert/embeddings/word_embeddings"], input_ids)
    # A product with one-hot rows: the table has two rows, and its gradient stays dense.
    one_hot = tf.one_hot(segment_ids, config.type_vocab_size, dtype=words.dtype)
    segments = tf.einsum("bst,te->bse", one_hot, weights["bert/embeddings/token_type_embeddings"])
    positions = weights["bert/embeddings/position_embeddings"][: _dimensions(input_ids)[1]]
    embedded = layer_norm(words + segments + positions[None], weights, "bert/embeddings/LayerNorm")
    return words, dropout(embedded, config.hidden_dropout_prob, dropout_key, site=0)


def _block(config, weights, scope, x, score_bias, dropout_key, index: int) -> tf.Tensor:
    """One post-normalised transformer block, [B, S, H] -> [B, S, H]; `index` counts blocks from the input."""
    first_site = 1 + 3 * index
    context = _self_attention(config, weights, f"{scope}/attention_1/self", x, score_bias, dropout_key, first_site)
    projected = dense(context, weights, f"{scope}/attention_1/output/dense")
    projected = dropout(projected, config.hidden_dropout_prob, dropout_key, first_site + 1)
    attended = layer_norm(projected + x, weights, f"{scope}/LayerNorm")
    widened = get_activation(config.hidden_act)(dense(attended, weights, f"{scope}/ffn_1/intermediate/dense"))
    narrowed = dense(widened, weights, f"{scope}/ffn_1/intermediate/output/dense")
    narrowed = dropout(narrowed, config.hidden_dropout_prob, dropout_key, first_site + 2)
    return layer_norm(narrowed + attended, weights, f"{scope}/LayerNorm_1")


def _self_attention(config, weights, scope, x, score_bias, dropout_key, site: int) -> tf.Tensor:
    """softmax(q k^T / sqrt(D) + bias) v over all heads, [B, S, H] -> [B, S, H]; float32 softmax."""
    query, key, value = (
        split_heads(dense(x, weights, f"{scope}/{name}"), config.num_attention_heads)
        for name in ("query", "key", "value")
    )
    scores = tf.matmul(query, key, transpose_b=True)  # [B, A, S, S]
    scale = 1.0 / math.sqrt(config.hidden_size // config.num_attention_heads)
    probabilities = tf.nn.softmax(tf.cast(scores, tf.float32) * scale + score_bias)
    probabilities = _dropout_probabilities(probabilities, config.attention_probs_dropout_prob, dropout_key, site)
    return merge_heads(tf.matmul(tf.cast(probabilities, value.dtype), value))


def _dropout_probabilities(probabilities: tf.Tensor, rate: float, key: DropoutKey | None, site: int) -> tf.Tensor:
    """Dropout of attention probabilities [B, A, S, S]; the hash sees (head, query) as position and the key as unit."""
    if key is None or rate == 0:
        return probabilities
    batch, num_heads, queries, keys = _dimensions(probabilities)
    flat = tf.reshape(probabilities, [batch, num_heads * queries, keys])
    return tf.reshape(dropout(flat, rate, key, site), [batch, num_heads, queries, keys])


class AlbertModel(tf.Module):
    """The encoder together with its variables, and those of a head if its specs are given.

    `weights` maps TF1 names to variables in upstream's order of creation. Build it inside `strategy.scope()` to mirror
    the variables. Calling the model runs the encoder without dropout.
    """

    def __init__(self, config: AlbertConfig, head_specs: Sequence[VariableSpec] = (), seed: int = 0):
        super().__init__(name="albert")
        self.config = config
        self.weights = {
            spec.name: tf.Variable(spec.initial_value(seed), name=spec.name)
            for spec in (*encoder_specs(config), *head_specs)
        }

    def __call__(
        self, input_ids: tf.Tensor, input_mask: tf.Tensor | None = None, segment_ids: tf.Tensor | None = None
    ) -> EncoderOutput:
        return encode(self.config, self.weights, input_ids, input_mask, segment_ids)
