"""The jobs: flags, the request that AWS gets, what is uploaded, and the command that runs in the container.

`testdata/*.json` are whole requests, read and approved once; botocore's own model of the service, which knows what AWS
takes, checks them and every other request here.
"""

import dataclasses
import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest

from albert.cli.fine_tuning import parse_squad_flags
from albert.cli.flags import HelpRequested
from albert.cli.pretraining import parse_pretraining_flags
from albert.errors import UserError
from cloud import sagemaker_finetuning, sagemaker_job, sagemaker_pretraining
from cloud.fsx_settings_test import FROM_VARIABLES as ACCOUNT
from cloud.fsx_settings_test import VARIABLES
from cloud.sagemaker_job import GPUS, Job, request_of

ROOT = Path(__file__).parent.parent
TESTDATA = Path(__file__).parent / "testdata"
NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
PROGRAMS = {"pretraining": sagemaker_pretraining, "finetuning": sagemaker_finetuning}

# The command of the predecessor's README, with more than one machine, on spot instances.
PRETRAINING = (
    *("--instance_type=ml.p4d.24xlarge", "--instance_count=2", "--load_from=scratch", "--model_type=albert"),
    *("--model_size=base", "--batch_size=32", "--gradient_accumulation_steps=2", "--warmup_steps=3125"),
    *("--total_steps=125000", "--learning_rate=0.00176", "--optimizer=lamb", "--name=albert-base", "--spot"),
)
JOBS = {
    "pretraining": PRETRAINING,
    "finetuning": ("--instance_type=ml.g5.12xlarge", "--load_from=huggingface", "--", "--dtype=auto"),
}


def job_of(program: str, *arguments: str) -> Job:
    return PROGRAMS[program].parse_job([program, *arguments])


def flags_of(job: Job) -> dict[str, str]:
    return dict(argument.removeprefix("--").partition("=")[::2] for argument in job.arguments)


@pytest.fixture(scope="module")
def service():
    """botocore's description of SageMaker; no network."""
    session = pytest.importorskip("botocore.session", reason="boto3 is not installed (extra aws)")
    return session.get_session().get_service_model("sagemaker")


def problems_with(service, request: dict) -> str:
    """What botocore finds before it would send the request, and values that no enum of the service has."""
    from botocore.model import StructureShape
    from botocore.validate import ParamValidator

    shape = service.operation_model("CreateTrainingJob").input_shape

    def unknown(value, shape, name):
        if isinstance(shape, StructureShape):
            return [text for key, item in value.items() for text in unknown(item, shape.members[key], f"{name}.{key}")]
        if shape.type_name == "list":
            return [text for item in value for text in unknown(item, shape.member, name)]
        return [f"{name}: {value}"] if getattr(shape, "enum", []) and value not in shape.enum else []

    report = ParamValidator().validate(request, shape).generate_report()
    return report or "\n".join(unknown(request, shape, "request"))


# The request ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_request_is_the_stored_one_and_botocore_accepts_it(program, service):
    request = request_of(job_of(program, *JOBS[program]), ACCOUNT, NOW)
    assert request == json.loads((TESTDATA / f"{program}_request.json").read_text())
    assert problems_with(service, request) == ""


def test_what_aws_would_refuse_is_found(service):
    request = request_of(job_of("finetuning"), ACCOUNT, NOW)
    assert "Missing required parameter" in problems_with(service, {**request, "OutputDataConfig": {}})
    assert "Invalid type" in problems_with(service, {**request, "RoleArn": 3})
    assert "Unknown parameter" in problems_with(service, {**request, "Spot": True})
    wrong = {**request, "ResourceConfig": {**request["ResourceConfig"], "InstanceType": "ml.p4d.24xlarg"}}
    assert problems_with(service, wrong) == "request.ResourceConfig.InstanceType: ml.p4d.24xlarg"


def test_sagemaker_has_every_instance_type(service):
    shape = service.operation_model("CreateTrainingJob").input_shape
    known = shape.members["ResourceConfig"].members["InstanceType"].enum
    assert set(GPUS) <= set(known)


def test_one_instance_keeps_checkpoints_where_sagemaker_does_and_several_share_a_folder():
    one, two = (job_of("pretraining", f"--instance_count={count}", "--name=x") for count in (1, 2))
    assert flags_of(one)["output_dir"] == request_of(one, ACCOUNT, NOW)["CheckpointConfig"]["LocalPath"]
    assert flags_of(two)["output_dir"] == "/opt/ml/input/data/training/albert_output/x"
    modes = [
        request_of(job, ACCOUNT, NOW)["InputDataConfig"][0]["DataSource"]["FileSystemDataSource"][
            "FileSystemAccessMode"
        ]
        for job in (one, two)
    ]
    assert modes == ["ro", "rw"]
    assert [flags_of(job)["strategy_type"] for job in (one, two)] == ["mirror", "multi_worker"]


def test_jobs_of_one_name_have_names_of_their_own_and_share_checkpoints():
    job = job_of("pretraining", "--name=x")
    first, second = (request_of(job, ACCOUNT, NOW + datetime.timedelta(seconds=s)) for s in (0, 1))
    assert first["TrainingJobName"] == "x-1xp3dn-24xlarge-20260304-050607" != second["TrainingJobName"]
    longest = max(
        (job_of("pretraining", f"--name={'a' * 28}", f"--instance_type={name}").settings for name in GPUS),
        key=lambda settings: len(settings.job_name(NOW)),
    )
    assert len(dataclasses.replace(longest, instance_count=100).job_name(NOW)) <= 63
    assert first["CheckpointConfig"] == second["CheckpointConfig"]
    assert first["CheckpointConfig"]["S3Uri"] == "s3://my-bucket/albert/x/checkpoints"


def test_spot_instances_may_be_waited_for():
    plain, spot = (request_of(job_of("pretraining", *flags), ACCOUNT, NOW) for flags in ([], ["--spot"]))
    assert (plain["EnableManagedSpotTraining"], spot["EnableManagedSpotTraining"]) == (False, True)
    assert "MaxWaitTimeInSeconds" not in plain["StoppingCondition"]
    # AWS: the wait includes the run.
    assert spot["StoppingCondition"]["MaxWaitTimeInSeconds"] >= spot["StoppingCondition"]["MaxRuntimeInSeconds"]


# The command ----------------------------------------------------------------------------------------------------------


def in_a_folder(job: Job, folder: Path) -> list[str]:
    """The container's command with `folder` in place of the file system."""
    return [job.module, *(argument.replace(sagemaker_job.FILE_SYSTEM, str(folder)) for argument in job.arguments)]


@pytest.fixture
def file_system(tmp_path) -> Path:
    """With what docs/several_machines.md says must be there."""
    models = tmp_path / "pretrained_model"
    models.mkdir()
    for name in ("albert_base_v2", "albert-base-v2", "mine"):
        (models / name).symlink_to(ROOT / "sample_data" / "albert_tiny")
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "train-0.tf_record").touch()
    (tmp_path / "SQuAD").mkdir()
    for name in ("train-v1.1", "dev-v1.1", "train-v2.0", "dev-v2.0"):
        (tmp_path / "SQuAD" / f"{name}.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "starts_from"),
    [
        (["--load_from=scratch"], None),
        (["--load_from=google"], "albert_base_v2"),
        (["--load_from=huggingface"], "albert-base-v2"),
        (["--load_from=checkpoint", "--checkpoint_path=/pretrained_model/mine"], "mine"),
    ],
)
def test_the_pretraining_program_understands_the_command(file_system, flags, starts_from):
    flags += ["--batch_size=4", "--gradient_accumulation_steps=2", "--warmup_steps=5", "--total_steps=9"]
    job = job_of("pretraining", "--instance_type=ml.g5.12xlarge", *flags, "--", "--max_seq_length=128")
    settings = parse_pretraining_flags(in_a_folder(job, file_system))
    checkpoint = settings.model.init_checkpoint
    assert starts_from in Path(checkpoint).parts if starts_from else checkpoint is None
    assert settings.train.per_replica_batch_size == 4
    assert job.settings.global_batch_size == 4 * 2 * 4
    assert (settings.train.train_steps, settings.train.warmup_steps, settings.data.max_seq_length) == (9, 5, 128)


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_the_squad_program_understands_the_command(file_system, version):
    name = f"squadv{version[0]}"
    job = job_of("finetuning", f"--squad_version={name}", "--batch_size=3", "--learning_rate=4e-5")
    assert job.module == f"albert.run_multigpus_{name.replace('squadv', 'squad_v')}"
    _, settings = parse_squad_flags(in_a_folder(job, file_system), version)
    train = settings.train
    assert (train.per_replica_batch_size, train.learning_rate, settings.do_train, settings.do_predict) == (
        *(3, 4e-5),
        *(True, True),
    )


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("pretraining", ["--model_type=electra"], ["--model_type=electra", "albert"]),
        ("pretraining", ["--model_size=small"], ["--model_size=small", "base, large, xlarge, xxlarge"]),
        ("pretraining", ["--load_from=hub"], ["--load_from=hub", "scratch, google, huggingface, checkpoint"]),
        ("pretraining", ["--instance_type=ml.c5.xlarge"], ["--instance_type=ml.c5.xlarge", "ml.p4d.24xlarge"]),
        ("pretraining", ["--load_from=checkpoint"], ["--load_from", "--checkpoint_path"]),
        ("pretraining", ["--checkpoint_path=x"], ["--load_from", "--checkpoint_path"]),
        ("pretraining", ["--load_from=checkpoint", "--checkpoint_path=../x"], ["--checkpoint_path=../x"]),
        ("pretraining", ["--source_dir=/"], ["--source_dir=/", "package albert"]),
        ("pretraining", ["--name=a_b"], ["--name=a_b", "hyphens"]),
        ("pretraining", [f"--name={'a' * 40}"], ["--name", "at most 28"]),
        ("pretraining", ["--total_steps=0", "--batch_size=0"], ["--total_steps=0", "--batch_size=0"]),
        ("pretraining", ["--total_step=3"], ["total_step"]),
        ("pretraining", [f"--input_file={'a' * 300}"], ["at most 256 characters"]),
        ("pretraining", ["--", "--output_dir=x"], ["--output_dir", "set by this program"]),
        ("pretraining", ["--", "-output_dir=x"], ["--output_dir", "set by this program"]),
        ("pretraining", ["--", "--flagfile=/gone"], ["--flagfile=/gone cannot be read"]),
        ("pretraining", ["--", "--log_stepps=3"], ["albert.run_pretraining", "log_stepps"]),
        ("pretraining", ["--", *["--seed=3"] * 100], ["at most 100 arguments"]),
        ("pretraining", ["--", "--overwrite_output_dir"], ["--overwrite_output_dir", "anew after every restart"]),
        (
            "finetuning",
            ["--spot", "--", "-overwrite_output_dir=1"],
            ["--overwrite_output_dir", "anew after every restart"],
        ),
        ("finetuning", ["--load_from=scratch"], ["--load_from=scratch", "google"]),
        ("finetuning", ["--squad_version=debug"], ["--squad_version=debug", "squadv1, squadv2"]),
    ],
)
def test_mistakes_are_refused(program, arguments, words):
    with pytest.raises(UserError) as raised:
        job_of(program, *arguments)
    assert all(word in str(raised.value) for word in words), raised.value


def test_flags_of_a_file_travel_without_the_file(tmp_path):
    file = tmp_path / "flags"
    file.write_text("--max_seq_length=256\n")
    assert job_of("pretraining", "--", f"--flagfile={file}").arguments[-1] == "--max_seq_length=256"
    file.write_text("--output_dir=x\n")
    with pytest.raises(UserError, match="--output_dir behind -- is set by this program"):
        job_of("pretraining", "--", f"--flagfile={file}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_the_module(program):
    with pytest.raises(HelpRequested, match=rf"python3 -m cloud\.sagemaker_{program} ") as raised:
        job_of(program, "--help")
    assert "Required" not in str(raised.value)  # everything has a default


# Printing and sending -------------------------------------------------------------------------------------------------


def run(*arguments: str, code: str = "", **variables: str) -> subprocess.CompletedProcess:
    """The program in a process; `code` comes before."""
    code += "\nimport sys\nfrom cloud.sagemaker_pretraining import cli\nsys.exit(cli())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=60)


def test_a_dry_run_prints_the_request_without_boto3_and_without_tensorflow():
    code = "import sys\nfor name in ('boto3', 'botocore', 'tensorflow'): sys.modules[name] = None"
    done = run("--name=x", "--dry_run", f"--source_dir={ROOT}", code=code, **VARIABLES)
    assert (done.returncode, done.stderr) == (0, "")
    request = json.loads(done.stdout)
    assert request["TrainingJobName"].startswith("x-1xp3dn-24xlarge-")
    [code_channel] = [channel for channel in request["InputDataConfig"] if channel["ChannelName"] == "code"]
    uri = code_channel["DataSource"]["S3DataSource"]["S3Uri"]
    assert uri.startswith("s3://my-bucket/albert/x/source/")
    # The name is the content's digest: the same files, the same name.
    again = json.loads(run("--name=x", "--dry_run", f"--source_dir={ROOT}", **VARIABLES).stdout)
    assert again["InputDataConfig"] == request["InputDataConfig"]


def test_missing_values_and_a_missing_library_are_one_line_each():
    missing = run("--dry_run", **{**VARIABLES, "SAGEMAKER_ROLE": ""})
    assert (missing.returncode, len(missing.stderr.splitlines()), "SAGEMAKER_ROLE" in missing.stderr) == (2, 1, True)
    done = run(code="import sys\nsys.modules['boto3'] = None", **VARIABLES)
    assert (done.returncode, len(done.stderr.splitlines()), "[aws]" in done.stderr) == (2, 1, True)


@pytest.fixture
def stubbed(monkeypatch):
    """Clients of S3 and SageMaker that answer without a network; each checks what it is sent."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (extra aws)")
    from botocore.stub import Stubber

    session = boto3.Session("key", "secret", region_name="us-east-1")
    clients = {name: session.client(name) for name in ("s3", "sagemaker")}
    monkeypatch.setattr(boto3, "client", clients.__getitem__)
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    return stubs


@pytest.mark.slow
def test_a_job_uploads_its_source_and_is_started(stubbed, capsys, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    job = job_of("pretraining", f"--source_dir={ROOT}", "--gradient_accumulation_steps=4")
    packed = sagemaker_job.packed_source(ROOT)
    request = request_of(job, ACCOUNT, NOW)
    key = request["InputDataConfig"][1]["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://my-bucket/")
    stubbed["s3"].add_response("put_object", {}, {"Bucket": "my-bucket", "Key": key, "Body": packed})
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{request['TrainingJobName']}"
    stubbed["sagemaker"].add_response("create_training_job", {"TrainingJobArn": arn}, request)
    assert sagemaker_job.send(job, ACCOUNT, NOW) == request["TrainingJobName"]
    for stub in stubbed.values():
        stub.assert_no_pending_responses()
    monkeypatch.setattr(sagemaker_job, "send", lambda *_: "the-job")
    sagemaker_pretraining.start(job)
    said = "the-job: 32 examples/GPU x 4 micro-batches x 8 GPUs x 1 instance = 1,024 examples/step\n"
    assert capsys.readouterr().out == said


def test_what_aws_refuses_is_one_line(stubbed):
    stubbed["sagemaker"].add_client_error("create_training_job", "ResourceLimitExceeded", "The limit is 0 Instances.")
    with pytest.raises(UserError, match=r"^AWS: .*ResourceLimitExceeded.*The limit is 0 Instances\.$"):
        sagemaker_job.send(job_of("pretraining"), ACCOUNT, NOW)
