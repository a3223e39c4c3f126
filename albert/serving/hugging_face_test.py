"""Descriptions of Hugging Face's models: testdata/interchange. No TensorFlow."""

import json
import math
import pickle
import shutil
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_classifier_flags
from albert.errors import UserError
from albert.serving.description import MAX_TOKENS
from albert.serving.imported import check_labels
from albert.serving.model_folder import find_casing, find_model
from albert.tasks.base import Choice, Labels, MultiLabels, Score, Span, Tags

MODELS = Path(__file__).parents[1] / "testdata/interchange"
VOCABULARY = Path(__file__).parents[1] / "testdata/agreement/agreement.model"


def folder_of(model, folder, tokenizer=None, **changes):
    config = json.loads((MODELS / model / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(VOCABULARY, folder / "spiece.model")
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def write_safetensors(folder, shapes):
    """Zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end := end + 4 * math.prod(shape)]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


NLI = Labels(("contradiction", "entailment", "neutral"))


@pytest.mark.parametrize(
    ("model", "changes", "output"),
    [
        ("for_sequence_classification", {}, NLI),
        ("for_sequence_classification", {"problem_type": None}, NLI),
        ("for_sequence_classification", {"problem_type": "multi_label_classification"}, MultiLabels(NLI.names)),
        ("for_sequence_classification", {"id2label": None}, Labels(("LABEL_0", "LABEL_1"))),
        (
            "for_sequence_classification",
            {"id2label": None, "num_labels": 3},
            Labels(("LABEL_0", "LABEL_1", "LABEL_2")),
        ),
        ("for_regression", {}, Score()),
        ("for_regression", {"problem_type": None}, Score()),
        ("for_question_answering", {}, Span("1.1")),
        ("for_multiple_choice", {}, Choice(4)),
    ],
)
def test_a_fine_tuned_model_says_what_it_predicts(tmp_path, model, changes, output):
    description = find_model(folder_of(model, tmp_path, **changes)).description
    assert (description.output, description.num_texts, description.max_seq_length) == (output, None, 64)


@pytest.mark.parametrize(
    ("model", "changes"), [("for_pretraining", {}), ("for_pretraining", {"architectures": None}), ("model_square", {})]
)
def test_a_pretrained_model_predicts_nothing(tmp_path, model, changes):
    assert find_model(folder_of(model, tmp_path, **changes)).description is None


@pytest.mark.parametrize(
    ("model", "output", "said"),
    [
        ("for_sequence_classification", NLI, "by the names of its weights it is an AlbertForSequenceClassification"),
        ("for_regression", Score(), "by the names of its weights it is an AlbertForSequenceClassification"),
        ("for_question_answering", Span("1.1"), "by the names of its weights it is an AlbertForQuestionAnswering"),
        ("for_multiple_choice", None, "of a regression or of a multiple choice: the model gives embeddings"),
        ("for_pretraining", None, ""),
    ],
)
@pytest.mark.parametrize("architectures", [None, [], ["AlbertModel", "AlbertForMaskedLM"]])
def test_without_a_named_class_the_weights_tell_and_the_log_says_so(
    tmp_path, caplog, model, output, said, architectures
):
    folder = folder_of(model, tmp_path, architectures=architectures)
    if (MODELS / model / "model.safetensors").exists():
        shutil.copy(MODELS / model / "model.safetensors", folder)
    else:
        write_safetensors(folder, {"albert.pooler.weight": [2, 2], "classifier.weight": [1, 2]})
    description = find_model(folder).description
    assert (description and description.output) == output
    assert said in " ".join(caplog.messages)
    assert bool(said) == bool(caplog.messages)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("pytorch_model.bin", pickle.dumps({"classifier.weight": [1.0]}), "pickle of Python's. Save the tensors of"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "Git LFS"),
        ("model.safetensors.index.json", b"{", "is not JSON"),
    ],
)
def test_without_a_named_class_weights_that_cannot_be_read_are_not_taken_for_pretrained_ones(
    tmp_path, name, data, message
):
    folder = folder_of("for_sequence_classification", tmp_path, architectures=None)
    (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name} .*{message}"):
        find_model(folder)


def test_a_classifier_of_tokens_gives_tags(tmp_path):
    output = find_model(folder_of("for_token_classification", tmp_path)).description.output
    assert output == Tags(("B-LOC", "B-PER", "I-LOC", "I-PER", "O"))
    one = folder_of("for_token_classification", tmp_path, id2label={"0": "O"})
    with pytest.raises(UserError, match=r"config\.json: id2label has 1 label, but a word's tag is one of two or more"):
        find_model(one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "id2label must have texts for 0 to 1"),
        ({"id2label": {"0": "a", "1": "a"}}, "id2label has 'a' twice"),
        ({"id2label": {"0": "a", "1": 1}}, "id2label has a label that is no text: 1"),
        ({"id2label": {"0": "a", "1": "b\nc"}}, "id2label holds a label with a control character"),
        ({"id2label": {"0": "a", "1": "\ud800"}}, "id2label has half of a surrogate pair"),
        ({"id2label": {"0": "a", "1": "b" * 300}}, "id2label holds a label of 300 characters"),
        ({"id2label": ["a", "b"]}, r"id2label is \['a', 'b'\], not 1 to"),
        ({"id2label": None, "num_labels": "3"}, "num_labels is '3', not 1 to"),
        ({"problem_type": "regression"}, "problem_type is 'regression' with 3 labels"),
        ({"problem_type": "other"}, "problem_type is 'other' with 3 labels"),
    ],
)
def test_what_is_no_output_of_ours_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=f"config.json: {message}"):
        find_model(folder_of("for_sequence_classification", tmp_path, **changes))


def test_the_tokenizers_configuration_counts(tmp_path):
    tokenizer = {"do_lower_case": False, "keep_accents": True, "model_max_length": 48, "unk_token": "<unk>"}
    folder = folder_of("for_sequence_classification", tmp_path, tokenizer)
    description = find_model(folder).description
    assert (description.do_lower_case, description.keep_accents, description.max_seq_length) == (False, True, 48)
    flags = ["program", "--do_train", "--task_name=MRPC", "--data_dir=d", "--output_dir=o", f"--model_dir={folder}"]
    settings = parse_classifier_flags(flags)[1]
    assert (settings.data.do_lower_case, settings.data.keep_accents) == (False, True)
    assert settings.model.albert_config_file == folder / "config.json"
    assert (settings.model.init_checkpoint, settings.data.spm_model_file) == (folder, folder / "spiece.model")
    assert parse_classifier_flags([*flags, "--do_lower_case"])[1].data.do_lower_case


@pytest.mark.parametrize(
    ("vocabulary", "tokenizer", "casing"),
    [
        ("vocab.txt", {"strip_accents": False}, {"keep_accents": True}),
        ("vocab.txt", {"strip_accents": False, "do_lower_case": True}, {"do_lower_case": True, "keep_accents": True}),
        ("vocab.txt", {"strip_accents": False, "do_lower_case": False}, {"do_lower_case": False}),
        ("vocab.txt", {"strip_accents": False, "keep_accents": False}, {"keep_accents": False}),
        ("vocab.txt", {"strip_accents": None}, {}),
        ("vocab.txt", {"strip_accents": True}, {}),
        ("spiece.model", {"strip_accents": False}, {}),
    ],
)
def test_accents_are_kept_where_the_tokenizer_of_word_pieces_keeps_them(tmp_path, vocabulary, tokenizer, casing):
    folder = folder_of("for_regression", tmp_path, tokenizer)
    (folder / "spiece.model").rename(folder / vocabulary)
    assert find_casing(folder) == casing


def test_an_unlimited_length_is_that_of_the_positions(tmp_path):
    folder = folder_of("for_question_answering", tmp_path, {"model_max_length": 10**30})
    assert find_model(folder).description.max_seq_length == 64
    assert find_casing(folder) == {}


@pytest.mark.parametrize(
    ("positions", "tokenizer", "longest"),
    [
        (2048, {}, 2048),
        (2048, {"model_max_length": 10**30}, 2048),
        (2048, {"model_max_length": 1024}, 1024),
        (2048, {"model_max_length": 4096}, 2048),
        (10**6, {}, MAX_TOKENS),
    ],
)
def test_more_positions_than_usual_are_read(tmp_path, positions, tokenizer, longest):
    folder = folder_of("for_question_answering", tmp_path, tokenizer, max_position_embeddings=positions)
    description = find_model(folder).description
    assert description.max_seq_length == longest
    assert description.options == {"doc_stride": 128, "max_query_length": 64}


def test_a_configuration_without_positions_has_as_many_as_the_library_gives_it(tmp_path):
    path = folder_of("for_question_answering", tmp_path) / "config.json"
    values = json.loads(path.read_text())
    del values["max_position_embeddings"]
    path.write_text(json.dumps(values))
    assert find_model(tmp_path).description.max_seq_length == 512


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"do_lower_case": "no"}', "do_lower_case is 'no', not true or false"), ("{", "is not JSON"), ("[]", "a list;")],
)
def test_a_damaged_configuration_of_the_tokenizer_is_refused(tmp_path, content, message):
    (folder_of("for_regression", tmp_path) / "tokenizer_config.json").write_text(content)
    with pytest.raises(UserError, match=f"tokenizer_config.json.*{message}"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    ("theirs", "ours", "is_unread"),
    [
        (NLI.names, NLI, False),
        (("ENTAILMENT", "Neutral", "b"), Labels(("entailment", "neutral", "b")), False),
        (("b", "a"), Labels(("a", "b")), True),
        (("b", "a"), Labels(("a", "b", "c")), False),
        (("b", "a"), Score(), False),
    ],
)
def test_labels_that_are_those_of_the_task_pass(tmp_path, caplog, theirs, ours, is_unread):
    id2label = {str(number): name for number, name in enumerate(theirs)}
    check_labels(folder_of("for_sequence_classification", tmp_path, id2label=id2label) / "config.json", ours, is_unread)
    assert not caplog.text


def test_labels_in_another_order_are_refused_and_those_without_names_told(tmp_path, caplog):
    ours = Labels(("entailment", "neutral", "contradiction"))
    with pytest.raises(UserError, match=r"classes are contradiction, entailment, .* here they are entailment, neutral"):
        check_labels(folder_of("for_sequence_classification", tmp_path) / "config.json", ours, is_unread=False)
    check_labels(folder_of("for_sequence_classification", tmp_path, id2label=None) / "config.json",
                 Labels(("0", "1")), is_unread=False)  # fmt: skip
    assert (
        "the classes are LABEL_0, LABEL_1, but here they are 0, 1: their order is taken to be the same" in caplog.text
    )


def test_the_file_of_a_fast_tokenizer_is_the_vocabulary_where_there_is_no_other(tmp_path):
    folder = folder_of("for_regression", tmp_path)
    normalizers = [{"type": "NFKD"}, {"type": "Precompiled", "precompiled_charsmap": ""}]
    written = {"model": {"type": "Unigram"}, "normalizer": {"type": "Sequence", "normalizers": normalizers}}
    (folder / "tokenizer.json").write_text(json.dumps(written))
    assert find_model(folder).spm_model_file == folder / "spiece.model"
    (folder / "spiece.model").unlink()
    assert find_model(folder).spm_model_file == folder / "tokenizer.json"
    assert find_casing(folder) == {"do_lower_case": False, "keep_accents": False}
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert find_casing(folder) == {"do_lower_case": True, "keep_accents": False}
    (folder / "vocab.txt").touch()
    assert find_model(folder).vocab_file == folder / "vocab.txt"
    (folder / "tokenizer.json").write_text("{")
    assert find_casing(folder) == {"do_lower_case": True}
