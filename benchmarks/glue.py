"""What the bundled small ALBERT learns on the tasks of GLUE: three seeds at two rates each, by `albert.sweep`.

Every task whose files are in the data folder, with its recipe but for three epochs: the published numbers of steps are
for models of 12 million parameters and more, and would take days on two cores. QNLI's training file is large and may
not be at hand: then `QNLI*` divides the questions of QNLI's dev file, four fifths to train on, one fifth to score.

    python3 -m benchmarks.glue --data_dir=glue_data --model_dir=sample_data/albert_tiny --work_dir=<any folder>

Runs that are in the work folder already are not repeated, so an interrupted benchmark resumes. Writes
benchmarks/results/glue.md and glue.png.
"""

import argparse
import shutil
from pathlib import Path

from albert.runs.sweep.plan import task_names
from benchmarks.results_file import RESULTS, append_result
from benchmarks.sweeps import DIVIDED_QNLI_FLAGS, divide_qnli, run_sweep


def main() -> None:
    """Runs what is missing, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with one sub-folder per GLUE task")
    parser.add_argument("--model_dir", type=Path, required=True, help="folder of a model")
    parser.add_argument("--work_dir", type=Path, required=True, help="where runs go, and are found again")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--learning_rates", default="5e-5,1e-4")
    parser.add_argument("--num_train_epochs", type=float, default=3.0)
    parser.add_argument(
        "--max_parallel", type=int, default=0, help="runs side by side; 0: as many as there are cores for"
    )
    arguments = parser.parse_args()
    at_hand = [name for name in task_names("all") if (arguments.data_dir / name / "train.tsv").is_file()]
    flags = [f"--seeds={arguments.seeds}", "--set", f"learning_rate={arguments.learning_rates}"]
    flags += [f"--max_parallel={arguments.max_parallel}"]
    of_runs = [f"--model_dir={arguments.model_dir}", f"--cached_dir={arguments.work_dir / 'cache'}"]
    of_runs += ["--eval_batch_size=32", "--predict_batch_size=32"]
    epochs = f"--num_train_epochs={arguments.num_train_epochs:g}"
    folder = arguments.work_dir / "sweep"
    tasks = f"--task_name={','.join(at_hand)}"
    run_sweep(folder, [*flags, tasks, "--partial_submission"], [*of_runs, epochs, f"--data_dir={arguments.data_dir}"])
    tables = [(folder / "table.md").read_text(encoding="utf-8")]
    if "QNLI" not in at_hand and (arguments.data_dir / "QNLI" / "dev.tsv").is_file():
        divided = arguments.work_dir / "divided"
        divide_qnli(arguments.data_dir, divided)
        folder_of_qnli = arguments.work_dir / "sweep_of_divided_qnli"
        more = [*of_runs, f"--data_dir={divided}", *DIVIDED_QNLI_FLAGS]
        run_sweep(folder_of_qnli, [*flags, "--task_name=QNLI", "--nodo_predict"], more)
        table = (folder_of_qnli / "table.md").read_text(encoding="utf-8")
        tables.append(table.replace("| QNLI |", "| QNLI* |"))
    append_result("glue", "\n".join(tables).rstrip())
    shutil.copyfile(folder / "sweep.png", RESULTS / "glue.png")


if __name__ == "__main__":
    main()
