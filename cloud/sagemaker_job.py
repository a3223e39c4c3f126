"""A training job of SageMaker: its flags, the request that starts it, and how it is sent.

The container is made by cloud/docker/Dockerfile and starts with cloud/docker/sagemaker_start.sh. The FSx for Lustre
file system is one input channel, which SageMaker mounts on every instance; pretrained models and data are read there.
"""

import contextlib
import dataclasses
import datetime
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from albert.cli.flag_files import with_flags_of_files
from albert.cli.flags import Program, parse
from albert.errors import UserError
from albert.settings.fields import DEVICES, MODEL, OUTPUT, TRAINING, WHAT, above_0, at_least, problems_of, setting
from albert.system.printing import counted
from cloud import fsx_settings
from cloud.fsx_settings import FsxSettings

_ONE_GPU = ("xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge")
# GPUs of each instance type that has NVIDIA GPUs for which TensorFlow 2.21 is built (Volta and newer).
GPUS = {
    **dict.fromkeys(("ml.p3.2xlarge", "ml.p5.4xlarge"), 1),
    **dict.fromkeys((f"ml.{family}.{size}" for family in ("g4dn", "g5", "g6", "g6e") for size in _ONE_GPU), 1),
    **dict.fromkeys(("ml.p3.8xlarge", "ml.g4dn.12xlarge"), 4),
    **dict.fromkeys((f"ml.{family}.{size}" for family in ("g5", "g6", "g6e") for size in ("12xlarge", "24xlarge")), 4),
    **dict.fromkeys((f"ml.{family}.48xlarge" for family in ("g5", "g6", "g6e", "p5", "p5e", "p5en")), 8),
    **dict.fromkeys(("ml.p3.16xlarge", "ml.p3dn.24xlarge", "ml.p4d.24xlarge", "ml.p4de.24xlarge"), 8),
}

# Where a container finds things. SageMaker chooses the first and the last; the start script the other.
FILE_SYSTEM = "/opt/ml/input/data/training"
SCRATCH = "/tmp/albert"
CHECKPOINTS = "/opt/ml/checkpoints"
START = "/opt/albert/cloud/docker/sagemaker_start.sh"

_LONGEST_ARGUMENT, _MOST_ARGUMENTS = 256, 100
# SageMaker takes 63 characters, of which the longest suffix needs 34.
_LONGEST_NAME = 28
_VOLUME_GB = 100
# Starts again, from the checkpoint, after an instance that broke: SageMaker's own errors, not the program's.
_RETRIES = 3

SIZES = ("base", "large", "xlarge", "xxlarge")
_MODEL_FOLDERS = {
    "scratch": "pretrained_model/albert_{size}_v2",  # only its configuration and vocabulary
    "google": "pretrained_model/albert_{size}_v2",
    "huggingface": "pretrained_model/albert-{size}-v2",
}


@dataclasses.dataclass(frozen=True)
class JobSettings:
    """What every job is given. Paths within the file system count from its root."""

    name: str = setting(
        "The training's name: a job of the same name continues from the checkpoints of the one before.",
        OUTPUT,
        default="albert",
    )
    instance_type: str = setting(
        "SageMaker's name of the machine; all its GPUs are used.",
        DEVICES,
        default="ml.p3dn.24xlarge",
        choices=tuple(GPUS),
    )
    instance_count: int = setting("Machines that train together.", DEVICES, default=1, bounds=at_least(1, 100))
    spot: bool = setting(
        "Use spot instances: cheaper; an interrupted one is replaced, and training resumes.", DEVICES, default=False
    )
    max_run_hours: int = setting(
        "SageMaker ends the job after this time of training; a job of the same name continues.",
        DEVICES,
        default=120,  # the longest that an account has without asking for more
        bounds=at_least(1, 672),
    )
    source_dir: Path | None = setting(
        "Folder of a checkout whose package albert runs instead of the image's.", WHAT, default=None
    )
    dry_run: bool = setting("Print the request as JSON, and send nothing.", WHAT, default=False)
    model_type: str = setting("Kind of model.", MODEL, default="albert", choices=("albert",))
    model_size: str = setting("Size of the model.", MODEL, default="base", choices=SIZES)
    load_from: str = setting(
        "Weights to start from. google and huggingface: the folders in pretrained_model/ of the file system that "
        "download_pretrained_models.sh makes. scratch: random weights, with configuration and vocabulary of Google's "
        "folder. checkpoint: `checkpoint_path`.",
        MODEL,
        default="scratch",
        choices=("scratch", "google", "huggingface", "checkpoint"),
    )
    checkpoint_path: str | None = setting(
        "With --load_from=checkpoint, the folder of a model in the file system.", MODEL, default=None
    )
    batch_size: int = setting("Examples per GPU and micro-batch.", TRAINING, default=32, bounds=at_least(1))
    gradient_accumulation_steps: int = setting(
        "Micro-batches per step on each GPU.", TRAINING, default=1, bounds=at_least(1, 65536)
    )
    learning_rate: float = setting("Peak learning rate.", TRAINING, default=0.00176, bounds=above_0(1e30))
    optimizer: str = setting("Optimizer.", TRAINING, default="lamb", choices=("lamb", "adamw"))

    @property
    def gpus(self) -> int:
        """GPUs of one instance."""
        return GPUS[self.instance_type]

    @property
    def global_batch_size(self) -> int:
        """Examples of a step: per GPU and micro-batch x micro-batches x GPUs x instances."""
        return self.batch_size * self.gradient_accumulation_steps * self.gpus * self.instance_count

    @property
    def output_dir(self) -> str:
        """In the container. Several instances need a folder that they share, which /opt/ml/checkpoints is not."""
        return CHECKPOINTS if self.instance_count == 1 else f"{FILE_SYSTEM}/albert_output/{self.name}"

    @property
    def model_folder(self) -> str:
        """In the container."""
        path = self.checkpoint_path if self.load_from == "checkpoint" else _MODEL_FOLDERS[self.load_from]
        return f"{FILE_SYSTEM}/{(path or '').strip('/').format(size=self.model_size)}"

    def problems(self) -> list[str]:
        """What does not go together."""
        found = problems_of(self)
        if not re.fullmatch("[A-Za-z0-9](-*[A-Za-z0-9])*", self.name) or len(self.name) > _LONGEST_NAME:
            found.append(f"`name`={self.name} must be letters, digits and inner hyphens, at most {_LONGEST_NAME}")
        if (self.load_from == "checkpoint") != bool(self.checkpoint_path):
            found.append("`load_from`=checkpoint and `checkpoint_path` go together: give both or neither")
        if self.checkpoint_path and not re.fullmatch(r"(?!.*\.\.)[\w./+=-]+", self.checkpoint_path):
            found.append(f"`checkpoint_path`={self.checkpoint_path} must be a path within the file system")
        if self.source_dir and not (self.source_dir / "albert" / "__init__.py").is_file():
            found.append(f"`source_dir`={self.source_dir} has no package albert: give the folder of a checkout")
        return found

    def job_name(self, now: datetime.datetime) -> str:
        """A name that no job has had."""
        machines = f"{self.instance_count}x{self.instance_type.removeprefix('ml.').replace('.', '-')}"
        return f"{self.name}-{machines}-{now:%Y%m%d-%H%M%S}"


S = TypeVar("S", bound=JobSettings)


@dataclasses.dataclass(frozen=True)
class Job:
    """A module of this package with its flags, and the machines for it."""

    settings: JobSettings
    module: str
    arguments: tuple[str, ...]


def parse_settings(program: Program, argv: Sequence[str], kind: type[S]) -> tuple[S, tuple[str, ...]]:
    """The settings, of the dataclass `kind`, in `argv`, and what follows `--` there.

    Raises HelpRequested for --help, and UserError for all problems with them.
    """
    values = parse(program, argv)
    settings = values.make(kind)
    values.check(settings.problems())
    return settings, values.arguments


def shared_arguments(settings: JobSettings) -> list[str]:
    """The flags that both training programs have."""
    strategy = "mirror" if settings.instance_count == 1 else "multi_worker"
    return [
        f"--output_dir={settings.output_dir}",
        f"--strategy_type={strategy}",
        f"--num_gpu_cores={settings.gpus}",
        f"--gradient_accumulation_steps={settings.gradient_accumulation_steps}",
        f"--learning_rate={settings.learning_rate}",
        f"--optimizer={settings.optimizer}",
    ]


def make_job(settings: JobSettings, program: Program, own: Sequence[str], more: Sequence[str]) -> Job:
    """A job that runs `program` with the flags `own`, and `more` of the command line.

    Raises UserError for flags that the program does not understand, or SageMaker does not take.
    """
    more = tuple(with_flags_of_files(more))  # the container does not have the files
    set_here = {_name(argument) for argument in own}
    if twice := sorted(set_here & {_name(argument) for argument in more if argument.startswith("-")}):
        raise UserError(f"--{', --'.join(twice)} behind -- is set by this program: --help lists its flags")
    arguments = (*own, *more)
    if long := [argument for argument in arguments if len(argument) > _LONGEST_ARGUMENT]:
        raise UserError(f"SageMaker takes arguments of at most {_LONGEST_ARGUMENT} characters: {long[0]}")
    if len(arguments) >= _MOST_ARGUMENTS:
        raise UserError(f"SageMaker takes at most {_MOST_ARGUMENTS} arguments, but these are {len(arguments) + 1}")
    _check(program, arguments)
    return Job(settings, f"albert.{program.module}", arguments)


def _name(argument: str) -> str:
    """Of a flag, which may begin with one hyphen or two."""
    return argument.lstrip("-").partition("=")[0]


def _check(program: Program, arguments: Sequence[str]) -> None:
    """Raises UserError as the program itself will, for everything that does not depend on files."""
    try:
        # --model_dir stands for the files of a model, which are not here.
        values = parse(
            program, ["", *arguments], lambda values: values.replace(albert_config_file=Path("in the model"))
        )
        values.check()
        if values["overwrite_output_dir"]:
            raise UserError(
                "--overwrite_output_dir would begin anew after every restart of the job: leave it out, or give the job "
                "another --name"
            )
    except UserError as error:
        raise UserError(f"albert.{program.module}: {error}") from error


def request_of(job: Job, account: FsxSettings, now: datetime.datetime) -> dict[str, Any]:
    """The arguments of CreateTrainingJob."""
    settings = job.settings
    seconds = settings.max_run_hours * 3600
    stopping = {"MaxRuntimeInSeconds": seconds}
    if settings.spot:
        stopping["MaxWaitTimeInSeconds"] = 2 * seconds  # training, and waiting for instances
    return {
        "TrainingJobName": settings.job_name(now),
        "RoleArn": account.role,
        "AlgorithmSpecification": {
            "TrainingImage": account.image_name,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": [START],
            "ContainerArguments": [job.module, *job.arguments],
        },
        "InputDataConfig": _channels(settings, account),
        "OutputDataConfig": {"S3OutputPath": _s3(account, settings.name, "output")},
        "ResourceConfig": {
            "InstanceType": settings.instance_type,
            "InstanceCount": settings.instance_count,
            "VolumeSizeInGB": _VOLUME_GB,
        },
        "VpcConfig": {"Subnets": list(account.subnet_ids), "SecurityGroupIds": list(account.security_group_ids)},
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": settings.spot,
        "CheckpointConfig": {"S3Uri": _s3(account, settings.name, "checkpoints"), "LocalPath": CHECKPOINTS},
        "RetryStrategy": {"MaximumRetryAttempts": _RETRIES},
        "Environment": {"NCCL_DEBUG": "WARN"},
    }


def _channels(settings: JobSettings, account: FsxSettings) -> list[dict[str, Any]]:
    file_system = {
        "FileSystemId": account.fsx_id,
        "FileSystemType": "FSxLustre",
        # Several instances write checkpoints there.
        "FileSystemAccessMode": "ro" if settings.instance_count == 1 else "rw",
        "DirectoryPath": f"/{account.fsx_mount_name}",
    }
    channels: list[dict[str, Any]] = [
        {"ChannelName": "training", "DataSource": {"FileSystemDataSource": file_system}},
    ]
    if settings.source_dir:
        uri = _source_uri(settings, account, packed_source(settings.source_dir))
        source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        channels.append({"ChannelName": "code", "DataSource": {"S3DataSource": source}})
    return channels


def _s3(account: FsxSettings, *names: str) -> str:
    return "/".join((account.s3_output.rstrip("/"), *names))


def _source_uri(settings: JobSettings, account: FsxSettings, packed: bytes) -> str:
    return _s3(account, settings.name, "source", f"{hashlib.sha256(packed).hexdigest()[:16]}.tar.gz")


def packed_source(folder: Path) -> bytes:
    """The package in the folder of a checkout, without tests, as a tar.gz whose bytes depend on the files alone."""
    files = (path for path in sorted(folder.glob("albert/**/*.py")) if "testdata" not in path.parts)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in files:
            if not path.name.endswith("_test.py"):
                content = path.read_bytes()
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def send(job: Job, account: FsxSettings, now: datetime.datetime) -> str:
    """Uploads the source, starts the job, and returns its name. Raises UserError where AWS refuses."""
    try:
        import boto3
    except ImportError:
        raise UserError('SageMaker needs boto3: .venv/bin/pip install -e ".[aws]"') from None
    request = request_of(job, account, now)
    with _aws_errors_in_one_line():
        if job.settings.source_dir:
            packed = packed_source(job.settings.source_dir)
            bucket, _, key = _source_uri(job.settings, account, packed).removeprefix("s3://").partition("/")
            boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=packed)
        boto3.client("sagemaker").create_training_job(**request)
    return request["TrainingJobName"]


@contextlib.contextmanager
def _aws_errors_in_one_line() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"AWS: {error}") from error


def start(job: Job) -> None:
    """Prints the request, or sends it; what both programs do with a command line that they have read."""
    account = fsx_settings.load(os.environ)
    settings, now = job.settings, datetime.datetime.now(datetime.UTC)
    if settings.dry_run:
        print(json.dumps(request_of(job, account, now), indent=2))
        return
    name = send(job, account, now)
    print(
        f"{name}: {counted(settings.batch_size, 'example')}/GPU x "
        f"{counted(settings.gradient_accumulation_steps, 'micro-batch', 'es')} x {counted(settings.gpus, 'GPU')} x "
        f"{counted(settings.instance_count, 'instance')} = {counted(settings.global_batch_size, 'example')}/step"
    )
