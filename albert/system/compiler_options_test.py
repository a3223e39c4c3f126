import os

import pytest

from albert.system.compiler_options import compiler_options, compiling_reductions

OPTION = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"


@pytest.mark.parametrize(
    ("flags", "read"),
    [
        (None, OPTION),
        (" ", OPTION),
        ("--xla_dump_to=here", f"{OPTION} --xla_dump_to=here"),
        # XLA reads nothing behind a word that is no option, nor behind a quotation mark without its other half.
        ("--xla_cpu_multi_thread_eigen=false threads=1", f"{OPTION} --xla_cpu_multi_thread_eigen=false threads=1"),
        ("--xla_dump_to='here", f"{OPTION} --xla_dump_to='here"),
        # The later one prevails.
        ("--xla_cpu_experimental_ynn_fusion_type=", f"{OPTION} --xla_cpu_experimental_ynn_fusion_type="),
        ("the options", f"{OPTION} --from\n--a_file"),
        ("no such file", "no such file"),
    ],
)
def test_xla_reads_the_option_and_all_of_the_users(flags, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "the options").write_text("--from\n--a_file\n")
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.delenv("XLA_FLAGS") if flags is None else monkeypatch.setenv("XLA_FLAGS", flags)
    with compiling_reductions():
        assert os.environ["XLA_FLAGS"] == read
    assert os.environ.get("XLA_FLAGS") == flags
    assert compiler_options() == read
