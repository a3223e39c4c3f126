import json
import subprocess

import numpy as np
import pytest

from albert.data import packing
from benchmarks.gpu_check.race import find_peers
from benchmarks.race.common import FLATTENED, Rows
from benchmarks.race.processes import ROOT, environment

PEERS = find_peers("")
needs_peers = pytest.mark.skipif(
    PEERS is None, reason="the peers are neither in this environment nor in benchmarks/.peers"
)
MAX_SEQ_LENGTH = 16
COUNT = 12

# Losses and gradients of the same examples on the same weights, padded and packed.
COMPARE = """
import json, sys
import numpy as np, torch
from torch.nn import functional
from benchmarks.race.common import Job
from benchmarks.race.peers import Trainer

config, numbers = json.loads(sys.argv[1]), np.arange(12)
trainer = Trainer(config)
trainer._model.eval()

def span_loss(batch):  # the library counts the logits of padding as well; this masks them
    labels = [batch.pop("start_positions"), batch.pop("end_positions")]
    found = trainer._model(**batch)
    is_padding = batch["attention_mask"] == 0
    logits = [values.masked_fill(is_padding, -torch.inf) for values in (found.start_logits, found.end_logits)]
    return sum(map(functional.cross_entropy, logits, labels)) / 2

def measured(variant):
    batch = trainer.make_batch(numbers, variant)
    shape = list(batch["input_ids"].shape)
    trainer._model.zero_grad()
    loss = span_loss(batch) if config["kind"] == "span" and variant == "padded" else trainer.loss(batch)
    loss.backward()
    gradients = [p.grad.flatten() for p in trainer._model.parameters() if p.grad is not None]
    return {"shape": shape, "loss": loss.item(), "gradient": torch.cat(gradients).tolist()[::1009]}

answer = trainer.answer({"run": 1, "first_batch": 0, "variant": "flattened"})
print(json.dumps({"answer": answer, **{v: measured(v) for v in ("padded", "flattened")}}))
"""


def some_rows(kind: str) -> Rows:
    random = np.random.default_rng(0)
    rows = []
    for length in random.integers(3, MAX_SEQ_LENGTH, COUNT).tolist():
        labels = {
            "classification": [int(random.integers(3))],
            "regression": [float(random.uniform(0, 5))],
            "span": sorted(random.integers(0, length, 2).tolist()),
        }[kind]
        rows.append((random.integers(5, 30_000, length).tolist(), [0] * 2 + [1] * (length - 2), labels))
    return Rows.from_lists(rows, "float32" if kind == "regression" else "int32")


@needs_peers
@pytest.mark.parametrize("kind", ["classification", "regression", "span"])
def test_packed_rows_have_the_loss_and_gradient_of_padded_ones(kind, tmp_path):
    rows = some_rows(kind)
    rows.save(tmp_path / "rows.npz")
    config = {
        "rows": str(tmp_path / "rows.npz"),
        "model": "tiny",
        "kind": kind,
        "num_labels": {"classification": 3, "regression": 1, "span": 2}[kind],
        "dtype": "float32",
        "batch_size": COUNT,
        "max_seq_length": MAX_SEQ_LENGTH,
        "variants": [FLATTENED],
        "warm_up_rounds": 0,
        "timed_rounds": 1,
        "steps_per_round": 1,
        "threads": 1,
    }
    done = subprocess.run(
        [PEERS, "-c", COMPARE, json.dumps(config)],
        cwd=ROOT,
        env={**environment(threads=1), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    num_rows = packing.pack(rows.lengths, MAX_SEQ_LENGTH)[1]
    assert found["padded"]["shape"] == [COUNT, MAX_SEQ_LENGTH]
    assert found["flattened"]["shape"] == [num_rows, MAX_SEQ_LENGTH]
    assert num_rows < COUNT
    assert found["flattened"]["loss"] == pytest.approx(found["padded"]["loss"], rel=1e-5)
    gradients = [np.array(found[variant]["gradient"]) for variant in ("flattened", "padded")]
    assert np.abs(gradients[1]).max() > 1e-3
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-6)
    answer = found["answer"]
    assert (answer["examples"], answer["real_tokens"]) == (COUNT, int(rows.lengths.sum()))
    assert answer["computed_tokens"] == num_rows * MAX_SEQ_LENGTH
