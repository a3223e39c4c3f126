"""What the code must look like from above: who imports whom, who may import TensorFlow, how long things may get."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from albert.cli.export_model import EXPORT
from albert.cli.fine_tuning import FINE_TUNING_PROGRAMS
from albert.cli.launch_workers import LAUNCH
from albert.cli.predict import PREDICT
from albert.cli.pretraining import PRETRAINING_PROGRAMS
from albert.cli.serve import SERVE
from albert.cli.sweep import SWEEP

ROOT = Path(__file__).parent.parent

# Folders and the modules at the top of the package, from top to bottom. The modules of a row import from the rows
# below it, never from its neighbours in the row. A new module in a folder needs no line here.
ORDER = (
    {""},  # the package itself: albert.load hands on to serving, and what imports the package imports no module of it
    {"demo"},
    {
        *("run_multigpus_classifier", "run_multigpus_squad_v1", "run_multigpus_squad_v2", "run_multigpus_race"),
        *("run_pretraining", "create_pretraining_data", "prepare_corpus", "train_sentencepiece"),
        *("create_finetuning_data", "predict", "serve", "export_model", "launch_workers", "sweep"),
    },
    {"cli"},
    {"runs"},
    {"serving"},
    {"weights", "heads"},
    {"modeling", "tasks", "pretraining_data"},
    {"data", "engine"},
    {"vocabulary_fit"},
    {"tokenization", "albert_config", "downloads"},
    {"interchange"},
    {"settings", "custom_optimization"},
    {"ops"},
    {"system"},
    {"errors"},
)
ROW_OF = {name: number for number, row in enumerate(ORDER) for name in row}

# The engine trains any model on any data, and data do not know what they are for: all that these folders import of
# the package, directly or through others.
IMPORTS_ONLY = {
    "engine": {"engine", "errors", "settings", "system", "ops"},
    "data": {"data", "errors", "system"},
    "system": {"system", "errors"},
    "ops": {"ops", "system", "errors"},
    "downloads": {"downloads", "errors", "system"},
}

# Parts of the package that no import of TensorFlow may be reachable from, and modules of other folders.
WITHOUT_TENSORFLOW = (
    "interchange",
    "cli",
    "tasks",
    "pretraining_data",
    "system",
    "settings",
    "errors",
    "tokenization",
    "downloads",
)
MODULES_WITHOUT_TENSORFLOW = (
    *("", "albert_config", "data.schema", "data.order", "data.packing", "data.row_shapes", "data.record_encoding"),
    "data.counter_hash",
    *("engine.cluster", "engine.meeting", "runs.launching", "runs.preflight", "launch_workers"),
    *(
        "data.item_encoding",
        "data.tfrecord_cache",
        "engine.throughput",
        "engine.workers",
        "engine.watchdog",
        "engine.evaluations",
        "serving.model_files",
        "serving.model_folder",
        "serving.description",
        "serving.inputs",
    ),
    *("serving.outputs", "serving.results", "serving.shapes", "serving.uses", "runs.prediction", "predict"),
    *("serving.batching", "serving.http", "serving.http.app", "serving.http.body", "serving.http.computing"),
    *("serving.http.metrics", "serving.http.server", "serving.http.settings", "runs.serving", "serve"),
    *("run_multigpus_classifier", "run_multigpus_squad_v1", "run_multigpus_squad_v2", "run_multigpus_race"),
    *("prepare_corpus", "train_sentencepiece", "create_pretraining_data", "run_pretraining"),
    *("create_finetuning_data", "export_model", "runs.export", "serving.export.request"),
    *("sweep", "runs.sweep", "runs.sweep.conduct", "runs.sweep.optuna_search", "runs.sweep.slurm"),
)

# The name of modules that tests share; nothing else may import them.
TEST_HELPERS = "testing"

MAX_TOP_MODULES = 21
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
# path or path:function -> why it may be longer.
LONGER_WITH_REASON: dict[str, str] = {}

# Training and predicting work without them; h5py comes with TensorFlow, but few need it.
OPTIONAL = {"torch", "transformers", "tokenizers", "safetensors", "h5py", "keras_hub", "tensorflow_text", "onnx"}
OPTIONAL |= {"optuna"}

SERIALIZERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def is_test_code(path: Path) -> bool:
    return path.name.endswith("_test.py") or path.stem in {TEST_HELPERS, "conftest"}


def product_files() -> list[Path]:
    """Every Python file of the project that is not a test."""
    folders = (ROOT / name for name in ("albert", "cloud", "sample_data", "benchmarks", "robustness"))
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    # benchmarks/.peers is an environment with other libraries, once there.
    return sorted(path for path in files if not is_test_code(path) and not {"testdata", ".peers"} & {*path.parts})


def module_name(path: Path) -> str:
    """`albert/tasks/glue.py` -> "tasks.glue"; `albert/__init__.py` -> ""."""
    parts = path.relative_to(ROOT / "albert").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The folder that a module is in, or the module itself at the top: what ORDER has."""
    return module.partition(".")[0]


@cache
def package_modules() -> dict[str, Path]:
    return {module_name(path): path for path in product_files() if path.is_relative_to(ROOT / "albert")}


def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Dotted names of all imports in the file, those inside functions too; `from a import b` gives a and a.b."""
    names: set[str] = set()
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports from the package's root, albert"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@cache
def imported_modules(module: str) -> frozenset[str]:
    """The package's modules that `module` imports, without the package itself and without `module`."""
    names = {name.removeprefix("albert.") for name in imported_names(package_modules()[module])}
    return frozenset((names & package_modules().keys()) - {module, ""})


def all_imports() -> dict[str, frozenset[str]]:
    return {module: imported_modules(module) for module in package_modules()}


def wrong_directions(row_of: dict[str, int], imports: dict[str, frozenset[str]]) -> list[str]:
    """One line for every import that does not go to a lower row or stay in its folder."""
    return [
        f"{importer} imports {imported}"
        for importer, names in sorted(imports.items())
        for imported in sorted(names)
        if part_of(importer) != part_of(imported) and row_of[part_of(imported)] <= row_of[part_of(importer)]
    ]


def circles(imports: dict[str, frozenset[str]]) -> set[str]:
    """The modules that import each other in a circle, or depend on such: what is left when leaves are taken off."""
    left = {module: set(names) for module, names in imports.items()}
    while leaves := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in leaves}
    return set(left)


def reachable(module: str, imports: dict[str, frozenset[str]]) -> set[str]:
    """Everything that `module` imports, directly or through others."""
    found: set[str] = set()
    waiting = set(imports.get(module, ()))
    while waiting:
        found |= waiting
        waiting = {name for known in waiting for name in imports.get(known, ())} - found
    return found


def test_every_part_of_the_package_has_a_row():
    assert {part_of(module) for module in package_modules()} - ROW_OF.keys() == set()


def test_the_top_of_the_package_fits_on_a_screen():
    top = [module for module, path in package_modules().items() if path.parent == ROOT / "albert" and module]
    assert len(top) <= MAX_TOP_MODULES, sorted(top)


def test_imports_go_downward_and_not_in_circles():
    assert wrong_directions(ROW_OF, all_imports()) == []
    assert circles(all_imports()) == set()


def test_wrong_directions_and_circles_would_be_found():
    imports = {"low": {"high"}, "high": {"peer.a"}, "peer.a": {"peer.b"}, "peer.b": {"peer.a"}}
    assert wrong_directions({"high": 0, "peer": 0, "low": 1}, imports) == ["high imports peer.a", "low imports high"]
    assert circles(imports) == {"low", "high", "peer.a", "peer.b"}
    assert circles({"a": {"b"}, "b": set()}) == set()
    assert reachable("low", imports) == {"high", "peer.a", "peer.b"}


@pytest.mark.parametrize("folder", IMPORTS_ONLY)
def test_folders_import_only_what_they_may(folder):
    imports = all_imports()
    for module in imports:
        if part_of(module) == folder:
            used = {part_of(name) for name in reachable(module, imports)}
            assert used <= IMPORTS_ONLY[folder], f"{module} reaches {sorted(used - IMPORTS_ONLY[folder])}"


def test_product_code_imports_no_test_code():
    for path in product_files():
        for name in imported_names(path):
            last = name.split(".")[-1]
            assert not last.endswith("_test"), path
            # robustness/ is tests that take long, and no part of the wheel.
            assert last != TEST_HELPERS or not name.startswith("albert.") or path.parent.name == "robustness", path


def test_importing_what_needs_no_tensorflow_imports_none():
    modules = [m for m in package_modules() if part_of(m) in WITHOUT_TENSORFLOW or m in MODULES_WITHOUT_TENSORFLOW]
    assert set(modules) >= set(MODULES_WITHOUT_TENSORFLOW)
    # One process for all: the first module that brings TensorFlow in is named.
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    code += "    if 'tensorflow' in sys.modules:\n        sys.exit(name)\n"
    names = [f"albert.{module}".rstrip(".") for module in modules]
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_libraries_that_not_everybody_has_are_imported_where_they_are_used():
    found = []
    for module, path in package_modules().items():
        for node in syntax_tree(path).body:
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{module} imports {name}" for name in names if name and name.split(".")[0] in OPTIONAL]
    assert found == []


def test_files_and_functions_stay_short():
    too_long = []
    for path in product_files():
        name = path.relative_to(ROOT).as_posix()
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE_LINES and name not in LONGER_WITH_REASON:
            too_long.append(f"{name}: {lines} lines")
        for node in ast.walk(syntax_tree(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_FUNCTION_LINES and f"{name}:{node.name}" not in LONGER_WITH_REASON:
                too_long.append(f"{name}:{node.name}: {lines} lines")
    assert too_long == []


def strings_of(path: Path) -> Iterator[str]:
    """The strings in the file's code, f-strings with {} for what is filled in; no docstrings, no comments."""

    def below(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in child.values)
            elif isinstance(child, ast.Constant):
                yield from [child.value] * isinstance(child.value, str)
            elif not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                yield from below(child)

    return below(syntax_tree(path))


def messages_below_the_command_line() -> Iterator[tuple[str, str]]:
    """(module, string) of the code that does not know which program runs it."""
    for module, path in package_modules().items():
        if ROW_OF[part_of(module)] > ROW_OF["cli"] and part_of(module) != "downloads":  # these have flags of their own
            yield from ((module, text) for text in strings_of(path))


def test_only_the_command_line_writes_flags():
    # What a user can run after reading a message, and what this project runs, is a whole command, of another program.
    # TensorFlow's flags are in the environment.
    programs = ("python3 download_glue_data.py", "./download_pretrained_models.sh", "tensorboard", "tf2onnx.convert")
    programs += ("scripts/setup.sh", "#SBATCH", "albert.predict")
    commands = re.compile(f"({'|'.join(map(re.escape, programs))}) --.*")
    found = [
        f"{module}: {text}"
        for module, text in messages_below_the_command_line()
        if re.search("--(?!(tf_)?xla_)[a-z{]", commands.sub("", text))
    ]
    assert found == []


def test_settings_in_messages_have_a_flag_in_some_program():
    known = {
        name
        for program in (*FINE_TUNING_PROGRAMS, *PRETRAINING_PROGRAMS, PREDICT, SERVE, EXPORT, LAUNCH, SWEEP)
        for name in program.flag_of
    }
    for module, text in messages_below_the_command_line():
        assert set(re.findall("`([a-z0-9_]+)`", text)) <= known, f"{module}: {text}"


def test_no_pickles():
    found = []
    for path in product_files():
        imported = {name.split(".")[0] for name in imported_names(path)}
        found += [f"{path}: imports {name}" for name in imported & SERIALIZERS]
        if "allow_pickle" not in path.read_text(encoding="utf-8"):
            continue  # without parsing it
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                allowed = not (isinstance(node.value, ast.Constant) and node.value.value is False)
                found += [f"{path}:{node.value.lineno}: allow_pickle"] * allowed
    assert found == []
