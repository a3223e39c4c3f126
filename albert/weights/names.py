"""Names of public ALBERT checkpoints and what they are called here: one table for every layout that is known.

Decides by names alone and knows no TensorFlow. A name is *canonical* when it is upstream's, which is ours.
"""

import collections
import dataclasses
import re
from collections.abc import Collection, Mapping

WORD_TABLE = "bert/embeddings/word_embeddings"
# albert_zh multiplies its word table [V, E] by this matrix [E, H], and adds positions and segments behind it.
WORD_PROJECTION = "bert/embeddings/word_embeddings_2"
# From embeddings to layers; absent where both are equally wide.
EMBEDDING_MAPPING = ("bert/encoder/embedding_hidden_mapping_in/kernel", "bert/encoder/embedding_hidden_mapping_in/bias")
POOLER = ("bert/pooler/dense/kernel", "bert/pooler/dense/bias")
# Heads that read the pooler's output: a file that has one of them was saved by a model with a pooler.
_READS_POOLER = ("cls/seq_relationship/", "output_weights", "classifier/")
# Heads of the tasks and of pretraining, whichever the model has, and those that Hugging Face's files call so.
_HEADS = ("cls/", "output_weights", "output_bias", "start_logits/", "end_logits/", "answer_class/", "predictions.")
_OF_PRETRAINING = ("cls/predictions/", "cls/seq_relationship/", "predictions.", "sop_classifier.")
# Constants, which some converters save beside the weights.
_CONSTANTS = ("/position_ids",)

_TABLE_ENDING = WORD_TABLE.removeprefix("bert/")
_PARTS = ("embeddings", "encoder", "pooler")
_BLOCK = "encoder/transformer/group_0/inner_group_0/"
_INNER = r"(inner_group_\d+)/"
_HF_BLOCK = r"albert_layer_groups_\._(\d+)/albert_layers_\._(\d+)/"


@dataclasses.dataclass(frozen=True)
class Rename:
    """One row: the layout it belongs to, and a part of a name (a regular expression) with what it is called here."""

    layout: str
    theirs: str
    ours: str


_ZH = "albert_zh (layer_shared)"
_KERAS = "layer_normalization"
_HUGGING_FACE = "Hugging Face's TensorFlow models"
_UNNUMBERED = "attention and ffn without numbers"
_SCOPE = "another scope than bert/"
_AVERAGES = "moving averages"

# Endings that all variables of a file share; they count only where the word table has them too.
ENDINGS = (
    Rename(_AVERAGES, r"/ExponentialMovingAverage$", ""),
    Rename("names with :0", r":0$", ""),
)
RENAMES = (
    # brightmart/albert_zh: BERT's names, the one layer called "layer_shared".
    Rename(_ZH, r"encoder/layer_shared/attention/output/LayerNorm/", f"{_BLOCK}LayerNorm/"),
    Rename(_ZH, r"encoder/layer_shared/attention/", f"{_BLOCK}attention_1/"),
    Rename(_ZH, r"encoder/layer_shared/intermediate/dense/", f"{_BLOCK}ffn_1/intermediate/dense/"),
    Rename(_ZH, r"encoder/layer_shared/output/dense/", f"{_BLOCK}ffn_1/intermediate/output/dense/"),
    Rename(_ZH, r"encoder/layer_shared/output/LayerNorm/", f"{_BLOCK}LayerNorm_1/"),
    # Keras's layer in place of contrib's function; those of the blocks are found by their order, see _layer_norms.
    Rename(_KERAS, r"(embeddings|transform)/(layer_normalization|layer_norm)(_\d+)?/", r"\1/LayerNorm/"),
    # transformers' TFAlbert, saved by name.
    Rename(_HUGGING_FACE, _HF_BLOCK, r"transformer/group_\1/inner_group_\2/"),
    Rename(_HUGGING_FACE, _INNER + r"attention/(query|key|value)/", r"\1/attention_1/self/\2/"),
    Rename(_HUGGING_FACE, _INNER + r"attention/dense/", r"\1/attention_1/output/dense/"),
    Rename(_HUGGING_FACE, _INNER + r"attention/LayerNorm/", r"\1/LayerNorm/"),
    Rename(_HUGGING_FACE, _INNER + r"ffn/(kernel|bias)", r"\1/ffn_1/intermediate/dense/\2"),
    Rename(_HUGGING_FACE, _INNER + r"ffn_output/", r"\1/ffn_1/intermediate/output/dense/"),
    Rename(_HUGGING_FACE, _INNER + r"full_layer_layer_norm/", r"\1/LayerNorm_1/"),
    Rename(_HUGGING_FACE, r"embeddings/(\w+_embeddings)/(weight|embeddings)$", r"embeddings/\1"),
    Rename(_HUGGING_FACE, r"pooler/(kernel|bias)$", r"pooler/dense/\1"),
    # Upstream's blocks always number what they hold once: attention_1, ffn_1.
    Rename(_UNNUMBERED, _INNER + r"attention/(self|output)/", r"\1/attention_1/\2/"),
    Rename(_UNNUMBERED, _INNER + r"ffn/intermediate/", r"\1/ffn_1/intermediate/"),
)  # fmt: skip

# Names that show what a file is, where it is nothing that can be read: the first row that matches counts.
LOOKS_LIKE = (
    (
        r"^_CHECKPOINTABLE_OBJECT_GRAPH$|/\.ATTRIBUTES/VARIABLE_VALUE$",
        "TensorFlow 2's object-based format, but holds no ALBERT of Model Garden's; use the TF1 checkpoint of the same "
        "model, or save its variables by name with tf.compat.v1.train.Saver",
    ),
    (r"encoder/layer_\d+/", "BERT's layout, with weights for each layer, which is not an ALBERT; use an ALBERT"),
    (r"rel_attn|^model/transformer/layer_\d+/", "XLNet's layout, which is not an ALBERT; use an ALBERT"),
    (r"^(electra|generator|discriminator)\w*/", "ELECTRA's layout, which is not an ALBERT; use an ALBERT"),
    (
        r"\.(weight|bias|gamma|beta)$",
        "PyTorch's layout, with kernels transposed; use the TF1 checkpoint of the same model",
    ),
    (r"layer_with_weights-\d+/", "a Keras model's layout; use the TF1 checkpoint of the same model"),
    (
        r"(layer_normalization|layer_norm|LayerNorm)_([2-9]|\d\d+)/",
        "a layout with layer normalisations for each layer, which ALBERT shares between layers",
    ),
    (r"layer_shared/|word_embeddings_2$", "albert_zh's layout"),
)


@dataclasses.dataclass(frozen=True)
class Names:
    """Entries of a file by canonical name, and the layouts whose renames led there (none for upstream's)."""

    entries: Mapping[str, str]
    layouts: tuple[str, ...] = ()


def canonical_names(entries: Collection[str]) -> Names:
    """What each entry is called here. Of several entries with one canonical name, that which bears it counts.

    Where none does, which one was meant is unknown: all of them keep their names, so that the variable stays missing.
    """
    layouts: set[str] = set()
    names = {entry: entry for entry in entries}
    tables = [name for name in names if name.endswith(_TABLE_ENDING)]
    for row in ENDINGS:
        if not tables and any(re.search(f"{_TABLE_ENDING}(/weight)?{row.theirs}", name) for name in names):
            names = {entry: _renamed(name, row, layouts) for entry, name in names.items()}
    for row in RENAMES:
        names = {entry: _renamed(name, row, layouts) for entry, name in names.items()}
    names = _without_scope(names, layouts)
    names = _layer_norms(names, layouts)
    times = collections.Counter(names.values())
    found = {entry: name if times[name] == 1 else entry for entry, name in names.items()}
    return Names({name: entry for entry, name in found.items()}, tuple(sorted(layouts)))


def _renamed(name: str, row: Rename, layouts: set[str]) -> str:
    new = re.sub(row.theirs, row.ours, name)
    if new != name:
        layouts.add(row.layout)
    return new


def _without_scope(names: Mapping[str, str], layouts: set[str]) -> dict[str, str]:
    """`module/bert/...`, `albert/...`, `model/...` or no scope at all, found by the word table, become `bert/...`."""
    tables = [name for name in names.values() if name == _TABLE_ENDING or name.endswith(f"/{_TABLE_ENDING}")]
    if WORD_TABLE in tables or len(tables) != 1:
        return dict(names)
    scope = tables[0].removesuffix(_TABLE_ENDING)
    parts = scope.split("/")[:-1]
    outer = "".join(f"{part}/" for part in parts[:-1]) if parts and parts[-1] in ("bert", "albert") else scope
    layouts.add(_SCOPE)

    def without(name: str) -> str:
        inside = name.removeprefix(scope)
        if name.startswith(scope) and inside.partition("/")[0] in _PARTS:
            return f"bert/{inside}"
        return name.removeprefix(outer)

    return {entry: without(name) for entry, name in names.items()}


def _layer_norms(names: Mapping[str, str], layouts: set[str]) -> dict[str, str]:
    """Two layer normalisations of a block with neighbouring numbers: upstream makes that of the attention first."""
    pattern = re.compile(r"(.*/inner_group_\d+/)((?:layer_normalization|layer_norm)(?:_(\d+))?)(/(?:gamma|beta))")
    found = {entry: match for entry, name in names.items() if (match := pattern.fullmatch(name))}
    numbers = collections.defaultdict(set)
    for match in found.values():
        numbers[match[1]].add((int(match[3] or 0), match[2]))
    renamed = dict(names)
    for entry, match in found.items():
        block = sorted(numbers[match[1]])
        if len(block) == 2 and block[1][0] == block[0][0] + 1:
            layouts.add(_KERAS)
            ours = "LayerNorm" if match[2] == block[0][1] else "LayerNorm_1"
            renamed[entry] = match[1] + ours + match[4]
    return renamed


def remarks_on(layouts: Collection[str]) -> list[str]:
    """What whoever reads such a file should know, beside that its names were mapped."""
    known = {
        _KERAS: "its layer normalisations are Keras's, whose epsilon is 0.001 unless it was set; this model has 1e-12",
        _AVERAGES: "it holds moving averages alone, which are read in place of the weights",
    }
    return [text for layout, text in known.items() if layout in layouts]


def looks_like(entries: Collection[str]) -> str | None:
    """The foreign layout that the names show, with what to do."""
    for pattern, description in LOOKS_LIKE:
        if any(re.search(pattern, name) for name in entries):
            return description
    scopes = {name.removesuffix(_TABLE_ENDING) for name in entries if name.endswith(f"/{_TABLE_ENDING}")}
    if len(scopes) > 1:
        return f"several models ({', '.join(sorted(scopes)[:4])}); save the one that is meant by itself, as bert/..."
    return None


def is_constant(name: str) -> bool:
    """Whether a canonical name is no weight."""
    return name.endswith(_CONSTANTS)


def has_use_for_pooler(names: Collection[str]) -> bool:
    """Whether a head among the canonical names reads the pooler's output."""
    return any(name.startswith(_READS_POOLER) for name in names)


def is_of_pretraining(entry: str) -> bool:
    """Whether an entry is of the heads that only pretraining has, under this project's names or Hugging Face's."""
    return entry.startswith(_OF_PRETRAINING)


def is_of_known_head(name: str) -> bool:
    """Whether a canonical name is that of a head which this project knows, used or not."""
    return name.startswith(_HEADS)
