import os

import pytest

from albert.system.compiler_options import compile_reductions

OPTION = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"


@pytest.mark.parametrize(
    ("flags", "after"),
    [
        (None, OPTION),
        ("--xla_dump_to=here", f"--xla_dump_to=here {OPTION}"),
        ("--xla_cpu_experimental_ynn_fusion_type=", "--xla_cpu_experimental_ynn_fusion_type="),
    ],
)
def test_the_option_is_added_once_and_replaces_none(flags, after, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.delenv("XLA_FLAGS") if flags is None else monkeypatch.setenv("XLA_FLAGS", flags)
    compile_reductions()
    compile_reductions()
    assert os.environ["XLA_FLAGS"] == after
