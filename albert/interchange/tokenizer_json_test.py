"""A SentencePiece model made again from tokenizer.json gives our ids. No TensorFlow."""

import gzip
import json

import pytest

from albert.errors import UserError
from albert.interchange.testing import SMALL, WHOLE, made_of, proto_of
from albert.interchange.tokenizer_json import cuts_as_we_do, read_casing, sentencepiece_model
from albert.tokenization import load_tokenizer


def contents(data):
    """All that ids depend on."""
    proto = proto_of(data)
    return [(p.piece, p.score, p.type) for p in proto.pieces], proto.normalizer_spec.precompiled_charsmap


@pytest.mark.parametrize("path", [WHOLE, SMALL])
@pytest.mark.parametrize("is_converted", [True, False])
def test_the_model_that_is_made_again_is_the_one_that_it_was_made_from(path, is_converted):
    data = json.dumps(made_of(path, is_converted)).encode()
    assert contents(sentencepiece_model(data, "x")) == contents(path.read_bytes())
    assert read_casing(data) == {"do_lower_case": True, "keep_accents": False}
    assert cuts_as_we_do(data) is not is_converted


@pytest.mark.slow
@pytest.mark.parametrize("is_converted", [True, False])
def test_ids_are_those_of_the_recorded_texts(tmp_path, shared_data, is_converted):
    recorded = shared_data.parent / "reference/interchange/tokenizer_cases.json"
    if not recorded.is_file():
        pytest.skip(f"needs the ids of other libraries: {recorded} is not there")
    (tmp_path / "tokenizer.json").write_text(json.dumps(made_of(WHOLE, is_converted)))
    for lower, column in ((True, "project"), (False, "project_cased")):
        tokenizer = load_tokenizer(tmp_path / "tokenizer.json", None, do_lower_case=lower)
        for case in json.loads(recorded.read_text()):
            assert tokenizer.encode(case["text"]) == case[column], case["text"]


def test_what_the_library_itself_wrote_is_read(shared_data):
    folder = shared_data.parent / "reference/interchange"
    if not folder.is_dir():
        pytest.skip(f"needs the tokenizers of other libraries: {folder} is not there")
    expected = contents((folder / "spm/tiny.model").read_bytes())
    for name in ("hf/tokenizer_5", "hf/tokenizer_exact", "hf_4/tokenizer_fast"):
        data = gzip.decompress((folder / name / "tokenizer.json.gz").read_bytes())
        assert contents(sentencepiece_model(data, name)) == expected
        assert cuts_as_we_do(data) is (name == "hf/tokenizer_exact")


def changed(**changes):
    return json.dumps(made_of(SMALL) | changes).encode()


MODEL = made_of(SMALL)["model"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is damaged: the whole is no JSON object"),
        (changed(model={"type": "BPE", "vocab": {}, "merges": []}), "is of kind BPE, not Unigram"),
        (changed(model={"vocab": {}, "merges": []}), "is of kind BPE, not Unigram"),
        (changed(model={"type": "WordPiece", "vocab": {}}), "is of kind WordPiece, not Unigram"),
        (changed(model={"vocab": {}}), "is of kind None, not Unigram"),
        (changed(model=MODEL | {"byte_fallback": True}), "splits unknown characters into bytes"),
        (changed(model=MODEL | {"unk_id": None}), "has no unknown piece: unk_id is None"),
        (changed(model=MODEL | {"unk_id": 10**6}), "has no unknown piece"),
        (changed(model=MODEL | {"vocab": []}), "its vocabulary is empty"),
        (changed(model=MODEL | {"vocab": [["a", -1], ["a", -2]]}), "has a piece twice"),
        (changed(model=MODEL | {"vocab": [["a", "b"]]}), "no list of pieces with scores"),
        (changed(model=MODEL | {"vocab": [["a", 1e40]]}), "no list of pieces with scores"),
        (changed(added_tokens=[{"id": 124, "content": "<new>", "special": False}]), "an added token, '<new>', which"),
        (changed(normalizer={"type": "BertNormalizer"}), "has the normalizer BertNormalizer"),
        (changed(normalizer={"type": ["Strip"]}), r"has the normalizer \['Strip'\], which"),
        (changed(normalizer={"type": "Precompiled", "precompiled_charsmap": "?"}), "no base64"),
        (changed(pre_tokenizer={"type": "ByteLevel"}), "does not put \u2581 in front of words"),
        (
            changed(pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never"}),
            "does not put",
        ),
        (changed(pre_tokenizer=None), "pre_tokenizer is no JSON object"),
    ],
)
def test_what_cannot_be_represented_is_refused_in_one_line(tmp_path, data, message):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"`spm_model_file`={path} .*{message}.*Take the .model") as raised:
        load_tokenizer(path, None, do_lower_case=True)
    assert "\n" not in str(raised.value)


def test_a_model_without_special_pieces_is_refused_as_any_other(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(changed(model=MODEL | {"vocab": [["<unk>", 0], ["a", -1]], "unk_id": 0}, added_tokens=[]))
    with pytest.raises(UserError, match=r"lacks \[CLS\], \[SEP\], \[MASK\], <pad>"):
        load_tokenizer(path, None, do_lower_case=True)
