"""Fine-tunes on SQuAD on SageMaker: `python3 -m cloud.sagemaker_finetuning --help`."""

import dataclasses
import sys
from collections.abc import Sequence

from albert.cli.fine_tuning import SQUAD_PROGRAMS
from albert.cli.flags import Program, declared
from albert.cli.program import main
from albert.settings.fields import DATA, SHARE, TRAINING, above_0, setting
from cloud.sagemaker_job import (
    FILE_SYSTEM,
    SCRATCH,
    Job,
    JobSettings,
    make_job,
    parse_settings,
    shared_arguments,
    start,
)

# What AWS's script calls them -> the versions in the names of SQuAD's files.
VERSIONS = {"squadv1": "1.1", "squadv2": "2.0"}


@dataclasses.dataclass(frozen=True)
class FinetuningJobSettings(JobSettings):
    """A fine-tuning job."""

    squad_version: str = setting("Version of SQuAD.", DATA, default="squadv2", choices=tuple(VERSIONS))
    squad_dir: str = setting("Folder of SQuAD's JSON files in the file system.", DATA, default="SQuAD")
    num_train_epochs: float = setting(
        "How often training sees every example.", TRAINING, default=2.0, bounds=above_0(10000)
    )
    warmup_proportion: float = setting("Part of the steps that is linear warm-up.", TRAINING, default=0.1, bounds=SHARE)


SAGEMAKER_FINETUNING = Program(
    "sagemaker_finetuning",
    "Fine-tunes ALBERT on SQuAD on SageMaker, with the account's values in cloud/fsx_settings.py.",
    declared(FinetuningJobSettings),
    required=(),
    example=("--instance_type=ml.p4d.24xlarge --load_from=google --dry_run",),
    changes={
        "load_from": {"default": "google", "choices": ("google", "huggingface", "checkpoint")},
        "batch_size": {"default": 4, "text": "Windows of contexts per GPU and micro-batch."},
        "learning_rate": {"default": 3e-5},
        "optimizer": {"default": "adamw"},
        "name": {"default": "squad"},
    },
    arguments="[-- --flag=value of albert.run_multigpus_squad_v2 ...]",
    package="cloud",
)


def parse_job(argv: Sequence[str]) -> Job:
    """The job in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that is wrong, at once.
    """
    settings, more = parse_settings(SAGEMAKER_FINETUNING, argv, FinetuningJobSettings)
    version = VERSIONS[settings.squad_version]
    own = [
        *(f"--do_{what}" for what in ("train", "predict")),
        f"--data_dir={FILE_SYSTEM}/{settings.squad_dir.strip('/')}",
        f"--train_file=train-v{version}.json",
        f"--predict_file=dev-v{version}.json",
        f"--cached_dir={SCRATCH}/cached_albert_tfrecord",  # each instance builds its own
        f"--model_dir={settings.model_folder}",
        *shared_arguments(settings),
        f"--train_batch_size={settings.batch_size}",  # of this program, per GPU and micro-batch
        f"--num_train_epochs={settings.num_train_epochs}",
        f"--warmup_proportion={settings.warmup_proportion}",
    ]
    return make_job(settings, SQUAD_PROGRAMS[version], own, more)


def cli(argv: Sequence[str] = sys.argv) -> int:
    """Returns the exit code."""
    return main(argv, parse_job, start, SAGEMAKER_FINETUNING)


if __name__ == "__main__":
    sys.exit(cli())
