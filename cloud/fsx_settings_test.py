"""Where the account's values come from, and what is said where they are missing."""

import dataclasses

import pytest

from albert.errors import UserError
from cloud import fsx_settings
from cloud.fsx_settings import FsxSettings, load

# Made up, of the forms that AWS's documentation gives.
VARIABLES = {
    "SAGEMAKER_ROLE": "arn:aws:iam::123456789012:role/service-role/SageMakerRole",
    "SAGEMAKER_IMAGE_NAME": "123456789012.dkr.ecr.us-east-1.amazonaws.com/albert:2.21",
    "SAGEMAKER_FSX_ID": "fs-0123456789abcdef0",
    "SAGEMAKER_FSX_MOUNT_NAME": "abcdefgh",
    "SAGEMAKER_SUBNET_IDS": "subnet-0123456789abcdef0",
    "SAGEMAKER_SECURITY_GROUP_IDS": "sg-0123456789abcdef0, sg-0123456789abcdef1",
    "SAGEMAKER_S3_OUTPUT": "s3://my-bucket/albert/",
}
FROM_VARIABLES = FsxSettings(
    role="arn:aws:iam::123456789012:role/service-role/SageMakerRole",
    image_name="123456789012.dkr.ecr.us-east-1.amazonaws.com/albert:2.21",
    fsx_id="fs-0123456789abcdef0",
    fsx_mount_name="abcdefgh",
    subnet_ids=("subnet-0123456789abcdef0",),
    security_group_ids=("sg-0123456789abcdef0", "sg-0123456789abcdef1"),
    s3_output="s3://my-bucket/albert/",
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "fsx_settings.toml"


def test_the_environment_is_enough(file):
    assert load(VARIABLES, file) == FROM_VARIABLES


def test_the_file_is_enough_and_the_environment_wins(file):
    # The example at the head of the module, without its indentation.
    lines = [line.strip() for line in fsx_settings.__doc__.splitlines() if " = " in line]
    file.write_text("\n".join(lines))
    assert len(lines) == len(dataclasses.fields(FsxSettings))
    settings = load({}, file)
    assert (settings.subnet_ids, settings.s3_output) == (("subnet-0123456789abcdef0",), "s3://my-bucket/albert")
    changed = load({"SAGEMAKER_SUBNET_IDS": "subnet-1,subnet-2", "SAGEMAKER_FSX_ID": ""}, file)
    assert changed == dataclasses.replace(settings, subnet_ids=("subnet-1", "subnet-2"))


def test_everything_that_is_missing_is_named_at_once(file):
    with pytest.raises(UserError) as raised:
        load({"SAGEMAKER_ROLE": VARIABLES["SAGEMAKER_ROLE"]}, file)
    said = str(raised.value)
    assert (said.count(str(file)), "SAGEMAKER_ROLE" in said) == (1, False)
    places = [said.index(f"{name} (or SAGEMAKER_{name.upper()} in the environment), as ") for name in _missing()]
    assert (places, len(places)) == (sorted(places), 6)


def _missing() -> list[str]:
    return [name for name in fsx_settings._VALUES if name != "role"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SAGEMAKER_ROLE", "SageMakerRole", "SAGEMAKER_ROLE is SageMakerRole, which is not of the form arn:"),
        ("SAGEMAKER_FSX_ID", "abc", "SAGEMAKER_FSX_ID is abc, which is not of the form fs-"),
        ("SAGEMAKER_SUBNET_IDS", "subnet-1,sg-1", "SAGEMAKER_SUBNET_IDS is sg-1, which is not of the form subnet-"),
        ("SAGEMAKER_S3_OUTPUT", "my-bucket", "SAGEMAKER_S3_OUTPUT is my-bucket, which is not of the form s3://"),
    ],
)
def test_a_value_of_another_form_is_refused(file, name, value, said):
    with pytest.raises(UserError, match=f"^{said}"):
        load(VARIABLES | {name: value}, file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("role = 3", "role in fsx_settings.toml must be a text"),
        ("subnet_ids = [3]", "subnet_ids in fsx_settings.toml must be a list of texts"),
        ('fsx_id = ["fs-0123456789abcdef0"]', "fsx_id in fsx_settings.toml must be a text"),
        ('rolle = "x"', "rolle in .* is unknown; known are role, image_name"),
        ("role = ", "is not TOML"),
        (b"\xff", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_named(file, text, said):
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        load(dict.fromkeys(VARIABLES, ""), file)
