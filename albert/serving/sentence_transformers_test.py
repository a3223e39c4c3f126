"""Folders as sentence-transformers writes them: the encoder's files, and a list of modules. No TensorFlow."""

import json

import pytest

from albert.serving.sentence_transformers import LENGTH, MODULES, PROMPTS, tell_of_vectors

SCOPE = "sentence_transformers.models"
MEAN = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def write(folder, pooling=MEAN, kinds=("Transformer", "Pooling"), length=512, prompt=None):
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": paths.get(kind, f"{number}_{kind}"), "type": f"{SCOPE}.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir()
    files = {
        MODULES: modules,
        "1_Pooling/config.json": pooling,
        LENGTH: {"max_seq_length": length, "do_lower_case": False},
        PROMPTS: {"prompts": {"query": "q: "}, "default_prompt_name": prompt, "similarity_fn_name": "cosine"},
    }
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("pooling", [MEAN, {"pooling_mode": "mean"}, {"pooling_mode": ["mean"]}])
def test_means_over_tokens_are_its_vectors(tmp_path, caplog, pooling):
    caplog.set_level("INFO")
    tell_of_vectors(write(tmp_path, pooling), 512)
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"length": 100}, "cuts texts to 100 tokens, not to 512"),
        ({"kinds": ("Transformer", "Pooling", "Dense", "Normalize")}, "puts Dense, Normalize behind the encoder"),
        (
            {"pooling": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}},
            "pools by cls_token, not by",
        ),
        ({"pooling": {"pooling_mode": "max"}}, "pools by max, not by the mean"),
        ({"pooling": []}, "pools by what is not said, not by the mean"),
        ({"prompt": "query"}, "puts its prompt 'query' before texts"),
        ({"kinds": ()}, "reads a modules.json that cannot be read here"),
    ],
)
def test_what_differs_is_said_in_a_warning(tmp_path, caplog, changes, said):
    tell_of_vectors(write(tmp_path, **changes), 512)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert said in record.getMessage()


def test_of_other_folders_nothing_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    tell_of_vectors(tmp_path, 512)
    assert not caplog.records
