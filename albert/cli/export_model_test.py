"""The flags of albert.export_model. Needs no TensorFlow."""

import pytest

from albert.cli.export_model import parse_export_flags
from albert.errors import UserError


@pytest.mark.parametrize("flag", ["--version=2", "--nostring_input", "--string_input"])
def test_what_only_one_format_has_is_refused_for_others(tmp_path, flag):
    flags = ["export_model", "--model_dir=x", f"--output_dir={tmp_path / 'out'}", flag]
    assert parse_export_flags([*flags, "--format=savedmodel"]).format == "savedmodel"
    name = flag.removeprefix("--").removeprefix("no").partition("=")[0]
    with pytest.raises(UserError, match=rf"^--{name} is for --format=savedmodel: leave it out$"):
        parse_export_flags([*flags, "--format=onnx"])
