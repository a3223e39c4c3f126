"""docs/pretraining.md as a person follows it: every command as it is written there, on a small corpus."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tensorflow as tf

ROOT = Path(__file__).parents[2]
TINY = {
    "vocab_size": 300,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}
STEPS = 18
# What the page's first block sets, for this corpus and machine.
VALUES = {
    "CONFIG": "config.json",
    "VOCAB_SIZE": 300,
    "BATCH": 8,
    "ACCUM": 2,
    "NUM_GPUS": 2,
    "DEVICE": "cpu",
    "DTYPE": "float32",
    "STEPS": STEPS,
    "WARMUP": 9,
    "LR": 1e-3,
    "OPTIMIZER": "lamb",
    "SAVE": 9,
    "DUPES": 2,
    "PYTHON": sys.executable,
}


def commands() -> tuple[str, list[str]]:
    """The page's first block, and the others."""
    page = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"^```bash\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return first, others


def test_the_page_sets_what_its_commands_use():
    settings, blocks = commands()
    defined = set(re.findall(r"(?:^|\s)([A-Z_]+)=", settings))
    used = set(re.findall(r"\$\(?\(?([A-Z_]+)", "".join(blocks)))
    assert used <= defined
    assert set(VALUES) | {"BOOKS", "HELD_OUT", "WORK"} == defined


def test_every_command_of_the_page_works_as_written(tmp_path):
    for folder in ("books", "held_out"):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / "sample_data" / "pretraining_text.txt", tmp_path / folder / "one.txt")
    shutil.copy(ROOT / "sample_data" / "pretraining_text.txt", tmp_path / "books" / "two.txt")
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    called = tmp_path / "multi_run_albert_glue.sh"
    called.write_text(f'#!/bin/sh\nexec "{ROOT}/multi_run_albert_glue.sh" "$@"\n')
    called.chmod(0o755)
    (tmp_path / "glue_data" / "CoLA").mkdir(parents=True)
    dev = (ROOT / "albert" / "testdata" / "glue_data" / "CoLA" / "dev.tsv").read_text()
    for split in ("train", "dev"):
        (tmp_path / "glue_data" / "CoLA" / f"{split}.tsv").write_text(dev)
    (tmp_path / "work").mkdir()
    values = {"BOOKS": "books/*.txt", "HELD_OUT": "held_out/*.txt", "WORK": "work", **VALUES}
    # What the fine-tuning script would take from its recipe and from where it lies.
    short = {"TSP": 2, "WPSP": 0, "MSL": 32, "SAVE": 2, "DO_PREDICT": "false", "DATA_DIR": tmp_path / "glue_data"}
    places = {"CURRENT_PWD": tmp_path, "OUTPUT_DIR": tmp_path / "cola", "PYTHONPATH": ROOT}
    environment = os.environ | {name: str(value) for name, value in (values | short | places).items()}
    environment |= {"NUM_GPUS": "2", "ACCUM": "2", "LR": "1e-3"}
    script = "set -euo pipefail\n" + "\n".join(commands()[1])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]

    names = dict(tf.train.list_variables(str(tmp_path / "work" / "model" / f"model.ckpt-{STEPS}")))
    assert names["cls/predictions/output_bias"] == [TINY["vocab_size"]]
    assert (tmp_path / "work" / "model_512" / f"model.ckpt-{STEPS // 9}.index").is_file()
    results = json.loads((tmp_path / "work" / "model" / "eval_results.json").read_text())
    assert {"masked_lm_accuracy", "sentence_order_loss"} <= set(results["best"])
    scored = json.loads((tmp_path / "cola" / "eval_results.json").read_text())
    assert scored["best"]["global_step"] == 2
