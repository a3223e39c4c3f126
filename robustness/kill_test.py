"""A run killed at its most delicate moments ends as one left alone. `robustness/kills.py` kills far more often."""

import signal

import pytest

from robustness.kill_runs import KillTestError, Run, differences

# Half as many steps as the benchmark's; the first of two checkpoints is deleted.
FEWER_STEPS = ("--train_step=4", "--save_checkpoints_steps=2", "--keep_checkpoint_max=1")

# The kills of one run, one after the other; each before the n-th change of a file of its kind that a start makes.
KILLS = (
    ("writing caches", 5),  # between the two renames of the first cache
    ("saving", 3),  # between the two renames of the first checkpoint
    ("evaluating", 6),  # the model is copied as the best, its evaluation not yet written
    ("writing results", 2),  # the first result file is there under its temporary name only
)


@pytest.mark.training
def test_a_run_killed_again_and_again_ends_bitwise_as_one_left_alone(tmp_path):
    alone = Run(tmp_path / "alone", extra=FEWER_STEPS).prepare()
    alone.start().end(0)
    killed = Run(tmp_path / "killed", extra=FEWER_STEPS, forked=True).prepare()
    for phase, nth in KILLS:
        started = killed.start(phase, nth)
        started.end(-signal.SIGKILL)
        assert started.changes()[-1].startswith(f"{phase}\t")
    killed.start().end(0)
    # All checkpoints with weights and slots, results and predictions, caches; and nothing that alone does not have.
    assert differences(alone, killed) == []
    assert {"model.ckpt-4.index", "model.ckpt-best.index", "eval_results.json", "submit_results.tsv"} <= {
        path.name for path in killed.output_dir.iterdir()
    }


def test_differences_are_found_in_every_kind_of_file(tmp_path):
    runs = [Run(tmp_path / name) for name in ("expected", "found")]
    for run in runs:
        run.output_dir.mkdir(parents=True)
        run.cached_dir.mkdir()
        (run.output_dir / "eval_results.json").write_text('{"hyperparameters": {"Seed": 1, "Total time": 2.5}}')
        (run.output_dir / "eval_results.txt").write_text("Seed = 1\nTotal time = 2.5\n")
    expected, found = runs
    # Times, and TensorBoard's file of each start, may differ.
    (found.output_dir / "eval_results.json").write_text('{"hyperparameters": {"Seed": 1}}')
    (found.output_dir / "eval_results.txt").write_text("Seed = 1\nTime since the last start = 9\n")
    (found.output_dir / "events.out.tfevents.1.host").touch()
    assert differences(expected, found) == []
    (found.output_dir / "eval_results.txt").write_text("Seed = 2\n")
    (found.output_dir / "checkpoint.tmp-01234567").touch()
    (expected.cached_dir / "a.tf_record").touch()
    assert differences(expected, found) == [
        "a.tf_record is missing",
        "checkpoint.tmp-01234567 is left over",
        "eval_results.txt differs",
    ]


def test_a_start_that_fails_after_a_kill_is_reported(tmp_path):
    run = Run(tmp_path / "run", extra=("--max_seq_length=0",)).prepare()
    with pytest.raises(KillTestError, match=r"exit code 2, not -9 or 0(.|\n)*max_seq_length"):
        run.start().end(-signal.SIGKILL, 0)
