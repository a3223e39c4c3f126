"""What is said of two runs that differ. No TensorFlow."""

import pytest

from albert.cli.fine_tuning import CLASSIFIER
from albert.runs.run_differences import differences


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ({"train_steps": 800}, {"train_steps": 900}, ["--train_step is 800 there and 900 here"]),
        (
            {"num_train_epochs": 3.0, "train_steps": 12, "warmup_proportion": 0.1, "warmup_steps": 1},
            {"num_train_epochs": None, "train_steps": 5, "warmup_proportion": 0.0, "warmup_steps": 2},
            [
                "--num_train_epochs is 3.0 there and not set here",
                "--train_step is not set there and 5 here",
                "--warmup_proportion is 0.1 there and 0.0 here",
                "--warmup_step is not set there and 2 here",
            ],
        ),
        # Only the counted steps differ, as where an earlier program counted them otherwise.
        (
            {"num_train_epochs": 3.0, "train_steps": 12},
            {"num_train_epochs": 3.0, "train_steps": 13},
            ["--train_step is 12 there and 13 here"],
        ),
        ({"init_checkpoint": "None"}, {"init_checkpoint": "/m"}, ["--init_checkpoint is not set there and '/m' here"]),
        ({"global_batch_size": 8}, {"global_batch_size": 16}, ["the batch over all replicas is 8 there and 16 here"]),
        (
            {"head": {"class_weights": "balanced"}},
            {"head": {}},
            ["--class_weights is 'balanced' there and not set here"],
        ),
        (
            {"hold_out": {"share": 0.1, "seed": 1}, "samples": {"train": 50}},
            {"hold_out": {"share": 0.2, "seed": 1}, "samples": {}},
            [
                "--validation_split is 0.1 there and 0.2 here",
                "--max_train_samples is 50 there and not set here",
            ],
        ),
        (
            {"scoring": {"score_language": "zh", "max_answer_length": 20}},
            {"scoring": {"score_language": "ja"}},
            ["`max_answer_length` is 20 there and not set here", "`score_language` is 'zh' there and 'ja' here"],
        ),
        ({"scoring": {"score_language": "zh"}}, {}, ["`score_language` is 'zh' there and not set here"]),
        # What a folder of Hugging Face's says of accents was not read by earlier versions.
        (
            {"tokenizer": "12ab"},
            {"tokenizer": "34cd"},
            ["the vocabulary differs, or --do_lower_case or --keep_accents"],
        ),
        ({"albert_config": {"a": 1}}, {"albert_config": {"a": 2}}, ["albert_config.a is 1 there and 2 here"]),
        # What a record does not name has the value that was a constant when it was written.
        (
            {"weight_decay": 0.1, "optimizer": "adamw"},
            {"max_grad_norm": 0.0, "lr_scheduler_type": "cosine", "optimizer": "adamw"},
            [
                "--lr_scheduler_type is 'linear' there and 'cosine' here",
                "--max_grad_norm is 1.0 there and 0.0 here",
                "--weight_decay is 0.1 there and 0.01 here",
            ],
        ),
        ({"layers": [1, 2]}, {"layers": (1, 2)}, []),
    ],
)
def test_what_differs_is_named_as_it_was_given(theirs, ours, expected):
    assert [CLASSIFIER.in_flags(phrase) for phrase in differences(theirs, ours)] == expected
