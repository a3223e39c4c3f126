"""Where SageMaker finds everything: file system, network, role, image, bucket.

Each value is read from the environment, otherwise from `fsx_settings.toml` beside this file:

    role = "arn:aws:iam::123456789012:role/SageMakerRole"
    image_name = "123456789012.dkr.ecr.us-east-1.amazonaws.com/albert:2.21"   # cloud/docker/Dockerfile, pushed to ECR
    fsx_id = "fs-0123456789abcdef0"
    fsx_mount_name = "abcdefgh"              # of the file system: aws fsx describe-file-systems
    subnet_ids = ["subnet-0123456789abcdef0"]
    security_group_ids = ["sg-0123456789abcdef0"]
    s3_output = "s3://my-bucket/albert"      # sources and checkpoints
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from albert.cli.flags import raise_for
from albert.errors import UserError

FILE = Path(__file__).with_name("fsx_settings.toml")


@dataclasses.dataclass(frozen=True)
class FsxSettings:
    """What one AWS account has; the same for every job. The fields are the names in the file."""

    role: str
    image_name: str
    fsx_id: str
    fsx_mount_name: str
    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    s3_output: str


@dataclasses.dataclass(frozen=True)
class _Value:
    """How one field is given. `variable` may hold several values, separated by commas, if the field does."""

    variable: str
    pattern: str
    example: str
    several: bool = False


# The variables, the last one apart, are those of AWS's own ALBERT scripts.
_VALUES = {
    "role": _Value("SAGEMAKER_ROLE", r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", "arn:aws:iam::123456789012:role/NAME"),
    "image_name": _Value("SAGEMAKER_IMAGE_NAME", r"\S{1,255}", "123456789012.dkr.ecr.us-east-1.amazonaws.com/albert"),
    "fsx_id": _Value("SAGEMAKER_FSX_ID", "fs-[0-9a-f]{8,18}", "fs-0123456789abcdef0"),
    "fsx_mount_name": _Value("SAGEMAKER_FSX_MOUNT_NAME", "[A-Za-z0-9_-]{1,8}", "abcdefgh"),
    "subnet_ids": _Value("SAGEMAKER_SUBNET_IDS", "subnet-[0-9a-f]+", "subnet-0123456789abcdef0", several=True),
    "security_group_ids": _Value("SAGEMAKER_SECURITY_GROUP_IDS", "sg-[0-9a-f]+", "sg-0123456789abcdef0", several=True),
    "s3_output": _Value("SAGEMAKER_S3_OUTPUT", r"s3://[a-z0-9.-]{3,63}(/[\w.!'()*/-]*)?", "s3://my-bucket/albert"),
}


def load(environment: Mapping[str, str], file: Path = FILE) -> FsxSettings:
    """The settings. Raises UserError that names every value that is missing or cannot be right."""
    given, problems = _read(file)
    values: dict[str, str | tuple[str, ...]] = {}
    missing = []
    for name, value in _VALUES.items():
        found = environment.get(value.variable, "")
        place = value.variable if found else f"{name} in {file.name}"
        try:
            words = _words(found.split(",") if found and value.several else found or given.get(name, ""), value.several)
        except ValueError:
            problems.append(f"{place} must be {'a list of texts' if value.several else 'a text'}, as {value.example}")
            continue
        if not words:
            missing.append(f"{name} (or {value.variable} in the environment), as {value.example}")
        elif wrong := [word for word in words if not re.fullmatch(value.pattern, word)]:
            problems.append(f"{place} is {', '.join(wrong)}, which is not of the form {value.example}")
        else:
            values[name] = words if value.several else words[0]
    if missing:
        problems.append(f"set in {file}: {', '.join(missing)}")
    raise_for(problems)
    return FsxSettings(**values)  # type: ignore[arg-type]


def _read(file: Path) -> tuple[dict[str, object], list[str]]:
    """What the file says, nothing if it is not there, and problems with it."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}") from error
    unknown = [f"{name} in {file} is unknown; known are {', '.join(_VALUES)}" for name in given.keys() - _VALUES.keys()]
    return given, sorted(unknown)


def _words(value: object, several: bool) -> tuple[str, ...]:
    """The texts that are not empty. Raises ValueError for what is no text, or no list of texts."""
    items = value if isinstance(value, list) and several else [value]
    texts = tuple(item.strip() for item in items if isinstance(item, str))
    if len(texts) < len(items):
        raise ValueError
    return tuple(filter(None, texts))
