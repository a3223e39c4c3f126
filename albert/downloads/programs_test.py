"""The two commands as a user calls them, in processes of their own where that matters."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from albert.downloads import datasets, models
from albert.downloads.testing import cut, refuse, stall, tar_bytes

ROOT = Path(__file__).parents[2]
DATA = [sys.executable, str(ROOT / "download_glue_data.py")]
MODELS = [str(ROOT / "download_pretrained_models.sh")]

MODEL = {
    "albert_base/albert_config.json": b"{}",
    "albert_base/30k-clean.model": b"pieces",
    "albert_base/30k-clean.vocab": b"words",
    "albert_base/model.ckpt-best.index": b"index",
    "albert_base/model.ckpt-best.meta": b"meta",
    "albert_base/model.ckpt-best.data-00000-of-00001": random.Random(0).randbytes(200_000),
}


def call(command, *arguments, **environment):
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def assert_one_line_of_error(result, *parts):
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--tasks=CoLA,nope"], "nope is not a task; use CoLA, SST-2, MRPC,"),
        (["--tasks="], "nothing is not a task"),
        (["MRPC"], "MRPC is not a flag: did you mean --tasks=MRPC?"),
        (["--verify=", "TASKS=MRPC"], "TASKS=MRPC is not a flag: write --tasks=MRPC"),
        (["TASK=MRPC"], "TASK=MRPC is not a flag: a variable goes in front of the program's name"),
        (["--task=CoLA"], "unrecognized arguments: --task=CoLA: did you mean --tasks?"),
        (["--data-dir=x"], "unrecognized arguments: --data-dir=x: did you mean --data_dir?"),
        (["--path_to_mrpc=/nowhere"], "does not hold msr_paraphrase_train.txt and msr_paraphrase_test.txt"),
        (["--base_url=ftp://x"], "does not begin with http:// or https://"),
        (["--base_url=ftp://user:secret@x"], "--base_url=ftp://... does not begin with"),
        (["--base_url=http://user:sec/ret@x"], "--base_url=http://... has no port that can be understood"),
        (["--base_url=http://"], "--base_url=http:// names no server"),
        (
            ["--base_ulr=http://user:secret@x/?sig=1"],
            "unrecognized arguments: --base_ulr=http://x/?...: did you mean --base_url? ",
        ),
        (["--parallel=0"], "--parallel=0 must be from 1 to 64"),
        (["--parallel=1000000000"], "--parallel=1000000000 must be from 1 to 64"),
        (["--tries=99999999999999999999"], "--tries=99999999999999999999 must be from 1 to 1000"),
        (["--tries=" + "9" * 5000], "argument --tries: invalid int value: '999"),
        (["--timeout=1e-9"], "--timeout=1e-09 is not a number of seconds"),
        (["--data_dir="], "argument --data_dir: is empty; name a folder, or leave it out"),
        (["--path_to_mrpc="], "argument --path_to_mrpc: is empty"),
        (["--timeout=nan"], "--timeout=nan is not a number of seconds"),
        (["--data_dir=/dev/null"], "cannot write /dev/null: "),
    ],
)
def test_wrong_arguments_for_data_are_one_line(capsys, arguments, part):
    try:
        status = datasets.main(arguments)
    except SystemExit as end:
        status = end.code
    output = capsys.readouterr()
    assert (status, output.out, output.err.count("\n")) == (2, "", 1)
    assert output.err.startswith("download_glue_data.py: ")
    assert part in output.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["huge"], "huge is not a size: use base, large, xlarge, xxlarge"),
        (["base", "VERSION=1"], "VERSION=1 is not a flag: write --version=1"),
        (["ALBERT_DIR=base"], "ALBERT_DIR=base is not a flag: a variable goes in front of the program's name"),
        (["base", "--version=3"], "argument --version: invalid choice: '3'"),
        (["--tries=0"], "--tries=0 must be from 1 to 1000"),
        (["--output_dir="], "argument --output_dir: is empty"),
    ],
)
def test_wrong_arguments_for_models_are_one_line(arguments, part):
    assert_one_line_of_error(call(MODELS, *arguments), "download_pretrained_models.sh: ", part)


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (datasets.main, [], "download_glue_data.py: TASK has no effect here: write --tasks=MRPC\n"),
        (datasets.main, ["--tasks=CoLA"], ""),
        (models.main, [], "download_pretrained_models.sh: ALBERT_DIR has no effect here: write base\n"),
        (models.main, ["large"], ""),
    ],
)
def test_a_variable_of_the_run_scripts_is_told_where_all_would_be_fetched(monkeypatch, capsys, main, arguments, said):
    monkeypatch.setenv("TASK", "MRPC")
    for name in ("TASKS", "VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALBERT_DIR", "base")
    with pytest.raises(SystemExit):
        main([*arguments, "--tries=0"])
    (*lines, refused) = capsys.readouterr().err.splitlines(keepends=True)
    assert "--tries=0 must be from 1" in refused
    assert "".join(lines) == said


def test_all_is_glue_and_old_names_are_understood():
    parser = datasets.Parser("x", "", "")
    names = {tasks: [dataset.name for dataset in datasets._wanted(parser, tasks)] for tasks in ("all", "sst,STS,CoLA")}
    assert names["all"] == "CoLA SST-2 MRPC QQP STS-B MNLI QNLI RTE WNLI diagnostic".split()
    assert names["sst,STS,CoLA"] == ["SST-2", "STS-B", "CoLA"]
    squad = [(dataset.name, dataset.expected) for dataset in datasets._wanted(parser, "SQuAD,RACE,squad2.0")]
    assert squad[:2] == [
        ("SQuAD1.1", ("train-v1.1.json", "dev-v1.1.json")),
        ("SQuAD2.0", ("train-v2.0.json", "dev-v2.0.json")),
    ]
    assert squad[2][1] == tuple(
        f"{split}/{level}/" for split in ("train", "dev", "test") for level in ("middle", "high")
    )


def test_every_file_of_the_data_sets_has_a_size_and_a_checksum_and_a_name_of_its_own():
    files = [file for dataset in (*datasets.GLUE, *datasets.SQUAD, datasets.RACE) for file in dataset.files]
    assert all(file.num_bytes and len(file.sha256) == 64 for file in files)
    assert len({file.name for file in files}) == len(files) == 17


def test_without_data_dir_each_goes_where_the_run_scripts_look(monkeypatch, tmp_path):
    monkeypatch.setenv("CURRENT_PWD", str(tmp_path))
    roots = {
        dataset.name: datasets._root(dataset, None) for dataset in (datasets.GLUE[0], *datasets.SQUAD, datasets.RACE)
    }
    assert roots == {"CoLA": tmp_path / "glue_data", "SQuAD1.1": tmp_path, "SQuAD2.0": tmp_path, "RACE": tmp_path}
    assert datasets._root(datasets.RACE, "data") == Path("data")
    monkeypatch.setenv("CURRENT_PWD", "~/work")
    assert datasets._root(datasets.RACE, None) == Path.home() / "work"
    monkeypatch.delenv("CURRENT_PWD")
    monkeypatch.chdir(ROOT)
    assert datasets._root(datasets.GLUE[0], None) == Path("glue_data")


@pytest.mark.parametrize("program", [DATA, MODELS])
def test_a_tilde_behind_an_equals_sign_is_the_home_folder(program, tmp_path):
    # bash leaves it alone there, and a folder called ~ is easily deleted with what is at home.
    folder = "--data_dir=~/data" if program == DATA else "--output_dir=~/data"
    wanted = "--tasks=RTE" if program == DATA else "base"
    result = call(program, folder, wanted, "--base_url=http://127.0.0.1:9", "--tries=1", HOME=str(tmp_path))
    assert result.returncode == 1, result
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("program", [DATA, MODELS])
def test_the_home_folder_of_nobody_is_told_in_one_line(program):
    flag, wanted = ("--data_dir", "--tasks=RTE") if program == DATA else ("--output_dir", "base")
    for result in (
        call(program, f"{flag}=~no-such-user/data", wanted),
        call(program, wanted, CURRENT_PWD="~no-such-user/data"),
    ):
        assert result.returncode == 2, result
        assert "~no-such-user/data begins with ~no-such-user, but that home folder is not known" in result.stderr
        assert "Traceback" not in result.stderr


def test_urls_of_models_are_googles():
    (file,) = models.model("xxlarge", "1").files
    assert file.url == "https://storage.googleapis.com/albert_models/albert_xxlarge_v1.tar.gz"
    assert models.model("base", "2").folder == "albert_base_v2"


def test_models_come_from_a_bad_server_to_where_the_scripts_look(server, tmp_path):
    for name in ("albert_base_v2", "albert_large_v2"):
        server.add(f"{name}.tar.gz", tar_bytes(MODEL), refuse(503), cut(98_304), known=False)
    arguments = ["base", "--version", "2", "large", "--base_url", server.url]
    result = call(MODELS, *arguments, CURRENT_PWD=str(tmp_path))
    assert result.returncode == 0, result
    folder = tmp_path / "pretrained_model"
    assert sorted(path.name for path in folder.iterdir()) == ["albert_base_v2", "albert_large_v2", "download.lock.json"]
    for name, content in MODEL.items():
        assert (folder / "albert_base_v2" / name.removeprefix("albert_base/")).read_bytes() == content
    assert server.ranges.count("bytes=98304-") == 2

    again = call(MODELS, *arguments, CURRENT_PWD=str(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.endswith("Nothing to do: everything is already there.\n")


def _heed_interrupts() -> None:
    """In a child: tests that a shell started in the background have been told to ignore SIGINT, and pass that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_stalled(server, tmp_path, **options):
    """A process that has fetched a part of a model and waits for the rest."""
    server.add("albert_base_v2.tar.gz", tar_bytes(MODEL), stall(98_304, seconds=20), known=False)
    command = [*MODELS, "base", f"--base_url={server.url}", f"--output_dir={tmp_path}"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts, **options
    )
    part = tmp_path / ".albert_base_v2.download" / "albert_base_v2.tar.gz.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == 98_304):
        assert time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    return process, command


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_download_goes_on_where_it_was(server, tmp_path, number):
    process, command = start_stalled(server, tmp_path)
    begin = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=15)
    assert time.monotonic() - begin < 10  # the server would be silent for longer
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error == "Interrupted. What has arrived is kept: the same command resumes from there.\n"
    result = call(command)
    assert result.returncode == 0, result
    assert server.ranges == [None, "bytes=98304-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["albert_base_v2", "download.lock.json"]


def test_waiting_for_another_call_can_be_interrupted(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    command = [*MODELS, f"--output_dir={tmp_path}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts)
    assert process.stderr.readline() == f"Waiting for another download into {tmp_path}.\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=10)[1], process.returncode) == ("Interrupted.\n", 130)
    os.close(descriptor)


def test_real_mrpc_and_diagnostic_files_become_glues_to_the_byte(server, shared_data, tmp_path):
    glue = shared_data / "glue_data"
    server.add("msr_paraphrase_train.txt", (glue / "MRPC/msr_paraphrase_train.txt").read_bytes(), cut(500_000))
    server.add("msr_paraphrase_test.txt", (glue / "MRPC/msr_paraphrase_test.txt").read_bytes(), refuse(500))
    server.add("mrpc_dev_ids.tsv", (glue / "MRPC/dev_ids.tsv").read_bytes())
    server.add("diagnostic.tsv", (glue / "diagnostic/diagnostic.tsv").read_bytes())
    arguments = ["--tasks=MRPC,diagnostic", f"--base_url={server.url}", f"--data_dir={tmp_path}"]
    result = call(DATA, *arguments)
    assert result.returncode == 0, result
    assert "3,668 train, 408 dev, 1,725 test rows" in result.stdout
    for name in ("MRPC/train.tsv", "MRPC/dev.tsv", "MRPC/test.tsv", "diagnostic/diagnostic.tsv"):
        assert (tmp_path / name).read_bytes() == (glue / name).read_bytes(), name
    assert "Nothing to do: everything is already there." in call(DATA, *arguments).stdout


def test_mrpc_from_a_folder_needs_no_server(shared_data, tmp_path):
    glue = shared_data / "glue_data"
    arguments = ["--tasks=MRPC", f"--data_dir={tmp_path}", f"--path_to_mrpc={glue / 'MRPC'}"]
    assert datasets.main([*arguments, "--base_url=http://127.0.0.1:9"]) == 0
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        assert (tmp_path / "MRPC" / name).read_bytes() == (glue / "MRPC" / name).read_bytes(), name


@pytest.fixture
def bare_checkout(tmp_path):
    """A copy of what downloads need, whose set-up makes a Python that only notes how it is called."""
    root = tmp_path / "check out"
    for name in ("albert/downloads", "albert/system", "scripts"):
        shutil.copytree(ROOT / name, root / name)
    programs = ["download_glue_data.py", "download_pretrained_models.sh"]
    for name in ["albert/__init__.py", "albert/errors.py", *programs]:
        shutil.copy(ROOT / name, root / name)
    setup = root / "scripts/setup.sh"
    setup.write_text(
        '#!/bin/sh\ncd "$(dirname "$0")/.."\nmkdir -p .venv/bin\n'
        "printf '#!/bin/sh\\necho \"stub: $*\"\\nexit 7\\n' >.venv/bin/python\nchmod +x .venv/bin/python\n"
    )
    return root


def test_a_python_without_the_packages_sets_up_and_goes_on_there(bare_checkout):
    # -S: without installed packages. What needs none is said before.
    python = [sys.executable, "-S", str(bare_checkout / "download_glue_data.py")]
    assert_one_line_of_error(call(python, "--tasks=nope"), "nope is not a task")
    assert call(python, "--help").returncode == 0
    assert not (bare_checkout / ".venv").exists()
    result = call(python, "--tasks=CoLA", "--data_dir=some where")
    assert result.returncode == 7
    assert result.stdout == "stub: -m albert.downloads.start datasets --tasks=CoLA --data_dir=some where\n"
    assert "pip install requests tqdm" in result.stderr


def test_the_model_script_works_without_the_environment(bare_checkout, server, tmp_path):
    server.add("albert_base_v1.tar.gz", tar_bytes(MODEL), known=False)
    command = [str(bare_checkout / "download_pretrained_models.sh"), "base", "--version=1", f"--base_url={server.url}"]
    result = call(command, PYTHON=sys.executable)
    assert result.returncode == 0, result
    assert (bare_checkout / "pretrained_model/albert_base_v1/albert_config.json").is_file()
    assert not (bare_checkout / ".venv").exists()


def test_downloads_import_no_tensorflow():
    code = "import sys, albert.downloads.jobs, albert.downloads.models; sys.exit('tensorflow' in sys.modules)"
    assert call([sys.executable, "-c", code]).returncode == 0
