"""Pretrains on SageMaker: `python3 -m cloud.sagemaker_pretraining --help`. The flags are those of AWS's own script."""

import dataclasses
import sys
from collections.abc import Sequence

from albert.cli.flags import Program, declared
from albert.cli.pretraining import RUN_PRETRAINING
from albert.cli.program import main
from albert.settings.fields import DATA, TRAINING, at_least, setting
from cloud.sagemaker_job import FILE_SYSTEM, Job, JobSettings, make_job, parse_settings, shared_arguments, start


@dataclasses.dataclass(frozen=True)
class PretrainingJobSettings(JobSettings):
    """A pretraining job."""

    input_file: str = setting(
        "Records of albert.create_pretraining_data in the file system: names or patterns, separated by commas.",
        DATA,
        default="records/train*.tf_record",
    )
    warmup_steps: int = setting("Steps of linear warm-up.", TRAINING, default=3125, bounds=at_least(0))
    total_steps: int = setting("Optimisation steps in all.", TRAINING, default=125000, bounds=at_least(1))


SAGEMAKER_PRETRAINING = Program(
    "sagemaker_pretraining",
    "Pretrains ALBERT on SageMaker, with the account's values in cloud/fsx_settings.py.",
    declared(PretrainingJobSettings),
    required=(),
    example=(
        "--instance_type=ml.p4d.24xlarge --instance_count=2 --batch_size=32",
        "--gradient_accumulation_steps=8 --dry_run",
    ),
    arguments="[-- --flag=value of albert.run_pretraining ...]",
    package="cloud",
)


def parse_job(argv: Sequence[str]) -> Job:
    """The job in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that is wrong, at once.
    """
    settings, more = parse_settings(SAGEMAKER_PRETRAINING, argv, PretrainingJobSettings)
    files = ",".join(f"{FILE_SYSTEM}/{name.lstrip('/')}" for name in settings.input_file.split(","))
    own = [
        f"--input_file={files}",
        *_model_flags(settings),
        *shared_arguments(settings),
        f"--train_batch_size={settings.global_batch_size}",  # of this program, over all GPUs and micro-batches
        f"--num_warmup_steps={settings.warmup_steps}",
        f"--num_train_steps={settings.total_steps}",
    ]
    return make_job(settings, RUN_PRETRAINING, own, more)


def _model_flags(settings: JobSettings) -> list[str]:
    folder = settings.model_folder
    if settings.load_from == "scratch":
        return [f"--albert_config_file={folder}/albert_config.json", f"--spm_model_file={folder}/30k-clean.model"]
    return [f"--model_dir={folder}"]


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_job, start, SAGEMAKER_PRETRAINING)


if __name__ == "__main__":
    sys.exit(cli())
