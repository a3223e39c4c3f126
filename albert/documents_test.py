"""The documents say what is there: their commands parse, their files, flags, variables and links exist.

Each page's `bash` blocks run in bash where every program is replaced by one that records how it is called. Each
recorded call then goes through the real program's parser.
"""

import ast
import functools
import importlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import albert
from albert import demo
from albert.downloads import datasets, hub, models
from albert.errors import UserError

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = sorted([README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PAGES = [*GUIDES, ROOT / "cached_albert_tfrecord" / "README.md", ROOT / "albert" / "testdata" / "README.md"]

# Pages whose commands read what earlier ones wrote. pretraining_data/walkthrough_test.py runs them.
RUN_FOR_REAL = {"pretraining.md"}

# A flag of run_tests, which has no Program.
COMING = {"--quick"}

MAX_README_LINES = 131
MAX_README_TABLE_ROWS = 10
MAX_FILES_OF_A_ROW = 14
FILES_TO_READ_FIRST = 6

SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *(path for folder in ("", "scripts/", "sample_data/", "cloud/slurm/") for path in ROOT.glob(f"{folder}*")),
        ROOT / ".ci" / "run",
    )
    if path.is_file() and os.access(path, os.X_OK)
)
# Modules of the development requirements; their own flags are not checked.
TOOLS = {"pytest", "ruff"}
# Programs of others, which get files of this project: their own flags are not checked.
PROGRAMS_OF_OTHERS = {"docker", "kubectl", "sbatch"}
# Entry points that read tables of one's own while they parse their flags.
READERS_OF_TABLES = {"run_multigpus_classifier", "create_finetuning_data"}
# Variables that no script of this project sets: of CUDA, of every HTTP client, and what clusters say.
VARIABLES_OF_OTHERS = {"CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "TF_CONFIG"}
# What downloads and runs create; the documents speak of it, a checkout does not have it.
CREATED = (
    *("glue_data", "SQuAD", "RACE", "pretrained_model", "cached_albert_tfrecord", "albert_output", "demo_output"),
    "cloud/fsx_settings.toml",
    "sweep/",
)
# Words of another voice -> how this project says it (CONTRIBUTING.md, Style).
WORDS = {
    "anew": "again",
    "judged": "evaluated",
    "mend": "fix",
    "goes on": "resumes",
    "made again": "recomputed",
    "somebody else's": "another run's",
    "stands in": "appears in",
    "of which": "two sentences",
    "is told": "is reported",
}

_OWN_FILE = re.compile("--(train|validation|test)_file=")

RECORDER = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps([sys.argv, dict(os.environ)]) + chr(10))
"""


class Call(NamedTuple):
    """How a document calls a program of this project."""

    program: str  # a script's path in the repository, or "-m module"
    arguments: list[str]
    variables: dict[str, str]


# Reading the pages ----------------------------------------------------------------------------------------------------


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_blocks(text: str) -> str:
    return re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def bash_blocks(page: Path) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", without_blocks(text_of(page)).replace("\n", " "))


def is_placeholder(code: str) -> bool:
    return "<" in code or "..." in code


def inline_commands(page: Path) -> list[str]:
    """Code in running text that calls a program: `TASK=x ./script.sh`, `.venv/bin/python -m module`."""
    is_command = re.compile(r"(?:[A-Z_]+=\S* )*(?:\./|\.ci/run$|\.venv/bin/python |python3 )")
    return [code for code in inline_code(page) if is_command.match(code) and not is_placeholder(code)]


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", without_blocks(text_of(page)), re.MULTILINE)}


# Recording commands ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A folder in which every program that a document may call records the call."""
    folder = tmp_path_factory.mktemp("checkout")
    programs = [folder / name for name in (*SCRIPTS, ".venv/bin/python", "bin/python3")]
    programs += [folder / "bin" / name for name in PROGRAMS_OF_OTHERS]
    for program in programs:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(RECORDER)
        program.chmod(0o755)
    return folder


def calls_of(script: str, checkout: Path) -> list[Call]:
    """The calls that bash makes. Fails where it finds a program that is not this project's."""
    record = checkout / "record"
    record.unlink(missing_ok=True)
    base = {"PATH": str(checkout / "bin"), "RECORD": str(record)}
    done = subprocess.run(
        [shutil.which("bash"), "-c", f"set -euo pipefail\n{script}"],
        cwd=checkout,
        env=base,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    found = []
    for line in record.read_text().splitlines() if record.exists() else ():
        (program, *arguments), environment = json.loads(line)
        own = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", *base}
        variables = {name: value for name, value in environment.items() if name not in own}
        if Path(program).name.startswith("python"):
            program, arguments = _python_program(arguments)
        elif Path(program).name in PROGRAMS_OF_OTHERS:
            program = Path(program).name
        found.append(Call(program.removeprefix("./"), arguments, variables))
    return found


def _python_program(arguments: list[str]) -> tuple[str, list[str]]:
    if arguments[0] == "-m":
        return f"-m {arguments[1]}", arguments[2:]
    return arguments[0], arguments[1:]


# What programs understand ---------------------------------------------------------------------------------------------


@functools.cache
def entry_module(name: str) -> Any:
    return importlib.import_module(name if name.startswith("cloud.") else f"albert.{name}")


ENTRY_POINTS = sorted(
    path.stem if path.parent.name == "albert" else f"cloud.{path.stem}"
    for path in (*(ROOT / "albert").glob("*.py"), *(ROOT / "cloud").glob("*.py"))
    if "def cli(" in path.read_text(encoding="utf-8") and path.stem != "demo" and not path.stem.endswith("_test")
)


def parse_of(module: Any) -> Any:
    """The function by which an entry point parses its command line: what it hands to `cli.program.main`."""
    handed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "main", lambda argv, parse, *work: handed.append(parse) or 0)
        module.cli(["program"])
    return handed[0]


@functools.cache
def flags_of(entry_point: str) -> frozenset[str]:
    """The flags that `--help` lists."""
    with pytest.raises(Exception, match="--") as raised:
        parse_of(entry_module(entry_point))(["program", "--help"])
    return frozenset(re.findall(r"--(?:\[no\])?(\w+)", str(raised.value)))


@functools.cache
def argparse_flags(module: str) -> frozenset[str]:
    """The flags that a module's source adds to an argument parser, without importing it."""
    path = ROOT / module.replace(".", "/")
    files = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else list(path.glob("*.py"))
    assert files, f"no module {module}"
    # Only files that have some are parsed.
    trees = (ast.parse(text_of(file)) for file in files if "add_argument" in text_of(file))
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    added = (call.args for call in calls if getattr(call.func, "attr", "") == "add_argument")
    constants = (argument.value for arguments in added for argument in arguments if isinstance(argument, ast.Constant))
    return frozenset(str(value).lstrip("-") for value in constants if str(value).startswith("-"))


def check_download(module: Any, arguments: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fetch_all", lambda parser, parsed, wanted: 0)
        patch.setattr(hub, "model", lambda repository, timeout: None)
        assert module.main(arguments) == 0, arguments


@functools.cache
def shared_script_text() -> str:
    return "".join(text_of(path) for path in sorted((ROOT / "scripts").glob("*.sh")))


def variables_of(program: str) -> set[str]:
    """The variables that a program reads: `${NAME}` in scripts, `"NAME"` in Python."""
    in_scripts = shared_script_text()
    if program.startswith("-m "):
        package = ROOT / program.removeprefix("-m ").partition(".")[0]
        sources = "".join(text_of(path) for path in package.rglob("*.py"))
        return set(re.findall(r'"([A-Z_]{2,})"', sources))
    if program == "demo_albert":  # it hands its environment on to the scripts
        in_scripts += "".join(text_of(ROOT / name) for name in SCRIPTS if name.startswith("multi_run"))
        in_python = "".join(map(text_of, ROOT.glob("albert/**/demo.py")))
        in_scripts += re.sub(r'"([A-Z_]{2,})"', r"$\1", in_python)
    return set(re.findall(r"\$\{?([A-Z_]{2,})", text_of(ROOT / program) + in_scripts))


@functools.cache
def known_variables() -> frozenset[str]:
    of_tests = re.findall(r'"([A-Z_]{2,})"', text_of(ROOT / "conftest.py"))
    return frozenset(itertools.chain(VARIABLES_OF_OTHERS, of_tests, *map(variables_of, SCRIPTS)))


def check(call: Call, parses: bool = True) -> None:
    """Fails where the program is not there, or does not understand its arguments or variables.

    Without `parses` only the names of an entry point's flags are checked: files that it reads need not be there.
    """
    if call.program in PROGRAMS_OF_OTHERS:
        _check_program_of_others(call)
        return
    if not call.program.startswith("-m ruff"):
        unknown = call.variables.keys() - variables_of(call.program) - VARIABLES_OF_OTHERS
        assert not unknown, f"{call.program} does not read {sorted(unknown)}"
    name = call.program.removeprefix("-m ")
    if (entry_point := name.removeprefix("albert.")) in ENTRY_POINTS:
        _check_flags(call, flags_of(entry_point))
        if entry_point == "launch_workers":
            _check_trailing_module(call.arguments)
        # Tables of one's own, which the program looks into, are not there.
        reads = entry_point in READERS_OF_TABLES and any(map(_OWN_FILE.match, call.arguments))
        if parses and not reads:
            # A model that is downloaded, or left by the command before, is not there.
            model = f"--model_dir={ROOT / 'sample_data/albert_tiny'}"
            arguments = [model if flag.startswith("--model_dir=") else flag for flag in call.arguments]
            parse_of(entry_module(entry_point))([name, *arguments])
    elif call.program.startswith("-m "):
        if name not in TOOLS:
            _check_flags(call, argparse_flags(name))
    elif name == "demo_albert":
        if call.arguments != ["help"]:
            parse_of(demo)([name, *call.arguments])
    elif name == "download_glue_data.py":
        check_download(datasets, call.arguments)
    elif name == "download_pretrained_models.sh":
        check_download(models, call.arguments)
    elif name == "run_tests":
        _check_test_run(call.arguments)
    elif programs := re.findall(r'fine_tune "?(\w+)', text_of(ROOT / name)):
        called = [entry for entry in ENTRY_POINTS if entry.startswith(programs[0])]
        _check_flags(call, frozenset().union(*map(flags_of, called)))
    else:
        _check_flags(call, frozenset(re.findall(r"--([\w-]+)", text_of(ROOT / name))))


def check_all(script: str, checkout: Path, parses: bool = True) -> int:
    """Checks every call of a script, and returns how many there are."""
    calls = calls_of(script, checkout)
    for call in calls:
        check(call, parses)
    return len(calls)


def _check_program_of_others(call: Call) -> None:
    """Files of this project that it is given exist, and what it runs is a program here."""
    files = [argument for argument in call.arguments if argument.startswith("cloud/")]
    assert files or call.program != "sbatch", call
    assert [name for name in files if not (ROOT / name).is_file()] == []
    _check_trailing_module(call.arguments)


def _check_trailing_module(arguments: list[str]) -> None:
    """Checks the flags of the module of the package, if there is one among the arguments, which follow it."""
    for i in [i for i, argument in enumerate(arguments) if argument.startswith("albert.")][:1]:
        check(Call(f"-m {arguments[i]}", arguments[i + 1 :], {}), parses=False)


def _check_flags(call: Call, known: frozenset[str]) -> None:
    # Behind -- are another program's.
    own = itertools.takewhile(lambda argument: argument != "--", call.arguments)
    given = {argument.lstrip("-").partition("=")[0] for argument in own if argument.startswith("-")}
    assert given <= known, f"{call.program} does not have {sorted(given - known)}"


def _check_test_run(arguments: list[str]) -> None:
    """Paths exist; flags are the script's own, or pytest's -k and -m."""
    own = set(re.findall(r"--[\w-]+", text_of(ROOT / "run_tests")))
    values = {i + 1 for i, argument in enumerate(arguments) if argument in {"-k", "-m"}}
    for i, argument in enumerate(arguments):
        known = argument in own | {"-k", "-m"} | COMING if argument.startswith("-") else (ROOT / argument).exists()
        assert i in values or known, f"./run_tests: {argument}"


@functools.cache
def all_flags() -> frozenset[str]:
    """Every flag of any program of this project."""
    sources = [*(ROOT / "albert").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *ROOT.glob("robustness/*.py")]
    own = [path.relative_to(ROOT) for path in sources if ".peers" not in path.parts]  # an environment, once there
    modules = {path.with_suffix("").as_posix().replace("/", ".") for path in own}
    of_scripts = {flag for name in SCRIPTS for flag in re.findall(r"--([\w-]+)", text_of(ROOT / name))}
    return frozenset().union(of_scripts, *map(flags_of, ENTRY_POINTS), *map(argparse_flags, modules))


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_command_of_a_block_is_one_that_its_program_understands(page, checkout):
    check_all("\n".join(bash_blocks(page)), checkout, parses=page.name not in RUN_FOR_REAL)


# Files that a reader has, in examples of what only such files show.
OF_READERS = {"pairs.tsv", "dev.tsv", "test.jsonl", "test.csv", "questions.json"}
READ_FILE = re.compile(r"(?:--\w*_file|\b[A-Z]+_FILE)[= ]([\w.-]+\.(?:csv|tsv|jsonl?|txt|conll))\b")


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_what_the_commands_of_a_page_read_is_made_by_earlier_ones(page):
    text = "\n".join(bash_blocks(page))
    for found in READ_FILE.finditer(text):
        if found[0].startswith(("--output_file", "--left_file")) or found[1] in OF_READERS:
            continue
        made = rf"(?:> |make_\w+\.py |--output_file=){re.escape(found[1])}\b"
        assert re.search(made, text[: found.start()]), f"nothing on {page.name} makes {found[1]}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_command_in_running_text_is_one_that_its_program_understands(page, checkout):
    for command in inline_commands(page):
        assert check_all(command, checkout), command


def test_the_readme_has_the_commands_that_a_reader_starts_with(checkout):
    programs = [call.program for call in calls_of("\n".join(bash_blocks(README)), checkout)]
    expected = ["demo_albert", "download_glue_data.py", "download_pretrained_models.sh", "multi_run_albert_glue.sh"]
    expected += ["sample_data/make_tickets.py", "multi_run_albert_own.sh", "-m albert.predict"]
    assert programs == expected


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (".venv/bin/python -m albert.run_pretraining --input_fil=x", "input_fil"),
        (".venv/bin/python -m albert.run_pretraining", "input_file"),
        (".venv/bin/python -m robustness.kills --killls=3", "killls"),
        (".venv/bin/python -m robustness.kisses", "no module"),
        ("TASKS=MRPC ./multi_run_albert_glue.sh", "TASKS"),
        ("./multi_run_albert_glue.sh --max_qa_length=3", "max_qa_length"),
        ("./run_tests albert/no_such_test.py", "no_such_test"),
        ("./demo_albert finetuning -q", "-q"),
        ("no_such_program", "not found"),
        ("./no_such_script.sh", "No such file"),
    ],
)
def test_a_command_that_does_not_work_would_be_found(command, problem, checkout):
    with pytest.raises((AssertionError, UserError), match=problem):
        check_all(command, checkout)


@pytest.mark.parametrize(
    "command", ["python3 download_glue_data.py --task=MRPC", "./download_pretrained_models.sh tiny"]
)
def test_a_download_that_does_not_work_would_be_found(command, checkout):
    with pytest.raises(SystemExit):
        check_all(command, checkout)


# Flags, variables, files, links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_flags_and_variables_in_running_text_exist(page):
    own = set(re.findall(r"(?:^|\s)([A-Z_]+)=", "\n".join(bash_blocks(page)))) if page.name in RUN_FOR_REAL else set()
    for code in inline_code(page):
        words = code.split()
        if all(re.fullmatch(r"--[\w-]+(=.*)?", word) for word in words):
            unknown = {word.lstrip("-").partition("=")[0] for word in words} - all_flags() - COMING
            assert not unknown, f"{code}: no program has {sorted(unknown)}"
        if all(re.fullmatch(r"[A-Z_]{2,}=\S*", word) for word in words):
            unknown = {word.partition("=")[0] for word in words} - known_variables() - own
            assert not unknown, f"{code}: no script reads {sorted(unknown)}"


def paths_in(page: Path) -> Iterator[str]:
    """Inline code that looks like a path of the repository, and modules as `albert.demo`."""
    folders = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir())
    for code in inline_code(page):
        if is_placeholder(code) or re.search(r"[\s{}=\[\]()]", code):
            continue
        is_file_name = re.fullmatch(r"[\w./*-]+\.(?:py|md|sh|toml)", code) or code.startswith(folders)
        if is_file_name and not code.startswith(CREATED):
            yield code
        elif code in {f"albert.{function}" for function in albert.__all__}:
            continue
        elif re.fullmatch(r"(?:albert|benchmarks|cloud|robustness)(?:\.[a-z_0-9]+)+", code):
            yield code.replace(".", "/")


def is_there(path: str, page: Path) -> bool:
    """Whether the repository has it: counted from its root, from the package, or from the page's folder."""
    names = [path] if Path(path).suffix or path.endswith("/") else [path, f"{path}.py"]
    return any(any(folder.glob(name)) for folder in (ROOT, ROOT / "albert", page.parent) for name in names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_exist(page):
    assert [path for path in paths_in(page) if not is_there(path, page) and path not in COMING] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text_of(page))):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), {README}
    while waiting:
        page = waiting.pop()
        seen.add(page)
        linked = re.findall(r"\]\(([^)#\s]+\.md)", text_of(page))
        waiting |= {(page.parent / link).resolve() for link in linked if not link.startswith("http")} - seen
    assert set(PAGES) - seen <= {ROOT / "cached_albert_tfrecord" / "README.md"}


# The README's size, its tour and the words ----------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= MAX_README_LINES
    tables = re.findall(r"(?:^\|.*\n)+", text_of(README), re.MULTILINE)
    assert tables
    assert max(len(table.splitlines()) - 2 for table in tables) <= MAX_README_TABLE_ROWS


def tour() -> str:
    return text_of(README).partition("## Code tour\n")[2].partition("\n## ")[0]


def test_the_documents_name_the_files_to_read_first_and_those_of_one_row():
    (first,) = (p for p in tour().split("\n\n") if p.startswith("Read these six files first"))
    journey = text_of(ROOT / "docs" / "design.md").partition("## The journey of one MRPC row\n")[2]
    journey = journey.partition("`albert/runs/assembly.py`")[0]
    first, of_a_row = (re.findall(r"`([^`]+\.py)`", text) for text in (first, journey))
    assert len(set(first)) == FILES_TO_READ_FIRST
    assert len(set(of_a_row)) == len(of_a_row) == MAX_FILES_OF_A_ROW
    assert [name for name in {*first, *of_a_row} - COMING if not (ROOT / name).is_file()] == []


def test_the_tour_has_a_line_for_every_folder():
    tree = re.search(r"```text\n(.*?)```", tour(), re.DOTALL)[1]
    package = {path.parent.name for path in (ROOT / "albert").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) == package
    tree_of_the_design = re.search(r"```\n(.*?)```", text_of(ROOT / "docs" / "design.md"), re.DOTALL)[1]
    assert set(re.findall(r"^  (\w+)/", tree_of_the_design, re.MULTILINE)) - {"testdata"} == package


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_use_the_fields_words(page):
    text = without_blocks(text_of(page)).lower()
    found = {word: instead for word, instead in WORDS.items() if re.search(rf"\b{re.escape(word)}\b", text)}
    assert found == {}, "write instead"
    assert re.findall(r"^(?:<{7}|>{7}) .*", text_of(page), re.MULTILINE) == [], "two versions were not merged"
