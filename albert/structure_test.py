"""What the code must look like from above: who imports whom, who may import TensorFlow, how long things may get."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From top to bottom. A module imports from its own layer and from those below it; within a layer there are no circles.
# A new module gets a line here.
LAYERS = (
    ("demo",),
    (
        *("run_multigpus_classifier", "run_multigpus_squad_v1", "run_multigpus_squad_v2", "run_multigpus_race"),
        *("prepare_corpus", "train_sentencepiece", "create_pretraining_data", "run_pretraining"),
    ),
    ("program",),
    ("pretraining.programs", "pretraining.command_line"),
    ("flags", "flag_tables"),
    ("pretraining.runner",),
    ("runner",),
    ("model_fn", "output_dir", "reports"),
    ("estimator", "pretraining.batches"),
    ("input_pipeline",),
    ("tfrecord_cache", "pretraining.record_files", "training_step", "profiling", "packing", "nonfinite_steps"),
    ("distribution", "evaluations", "interruption", "throughput", "estimator_spec", "checkpoint_store"),
    ("tasks", "tasks.base", "tasks.glue", "tasks.race", "tasks.squad", "tasks.squad_files", "tasks.span_alignment"),
    ("features", "heads", "span_heads", "pretraining.head", "checkpoints", "squad_predictions"),
    ("modeling", "custom_optimization"),
    ("dropout", "fused_ops", "albert_config", "checkpoint_index"),
    ("pretraining.creation", "pretraining.settings"),
    ("pretraining.masking", "pretraining.noise"),
    ("pretraining.shuffle", "pretraining.instances", "pretraining.documents"),
    ("pretraining.pieces", "pretraining.randomness"),
    (
        *("pretraining.corpus", "pretraining.vocabulary", "pretraining.text_files", "pretraining.records"),
        *("pretraining.sentences", "pretraining.termination"),
    ),
    ("tokenization", "metrics", "squad_metrics"),
    (
        *("downloads", "downloads.archives", "downloads.command", "downloads.dataset", "downloads.datasets"),
        *("downloads.first_use", "downloads.jobs", "downloads.models", "downloads.mrpc", "downloads.placement"),
        *("downloads.start", "downloads.transfer"),
    ),
    ("output_lock", "callback_errors"),
    ("files", "json_text", "processes"),
    ("settings",),
    ("pretraining",),
    ("",),  # the package itself: albert/__init__.py
)
LAYER_OF = {module: number for number, layer in enumerate(LAYERS) for module in layer}

# The engine trains any model on any data: neither directly nor through others does it come to these.
ENGINE = (
    *("distribution", "estimator", "estimator_spec", "training_step", "evaluations", "interruption", "throughput"),
    *("profiling", "custom_optimization", "checkpoints", "checkpoint_store", "nonfinite_steps"),
)
UNKNOWN_TO_ENGINE = {
    *("modeling", "heads", "model_fn", "tasks", "features", "tokenization", "metrics", "runner", "flags", "packing"),
    *("squad_metrics", "squad_predictions", "albert_config", "pretraining.head", "pretraining.batches"),
}

# Shared by tests; nothing else may import it.
TEST_HELPERS = {"testing"}

WITHOUT_TENSORFLOW = (
    *("", "settings", "tokenization", "metrics", "features", "tasks", "tfrecord_cache", "flags", "program"),
    *("run_multigpus_squad_v1", "run_multigpus_squad_v2", "run_multigpus_race", "flag_tables"),
    *("run_multigpus_classifier", "packing", "albert_config", "squad_metrics", "squad_predictions", "tasks.race"),
    *("tasks.squad", "throughput", "downloads.jobs", "downloads.models"),
    *("prepare_corpus", "train_sentencepiece", "create_pretraining_data", "run_pretraining"),
    *("pretraining.corpus", "pretraining.vocabulary", "pretraining.creation"),
)

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
# path or path:function -> why it may be longer.
LONGER_WITH_REASON: dict[str, str] = {}

SERIALIZERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def is_test_code(path: Path) -> bool:
    return path.name.endswith("_test.py") or path.stem in {*TEST_HELPERS, "conftest"}


def product_files() -> list[Path]:
    """Every Python file of the project that is not a test."""
    folders = (ROOT / name for name in ("albert", "sample_data", "benchmarks"))
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    return sorted(path for path in files if not is_test_code(path))


def module_name(path: Path) -> str:
    """`albert/tasks/glue.py` -> "tasks.glue"; `albert/__init__.py` -> ""."""
    parts = path.relative_to(ROOT / "albert").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def package_modules() -> dict[str, Path]:
    return {module_name(path): path for path in product_files() if path.is_relative_to(ROOT / "albert")}


def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(path: Path) -> Iterator[str]:
    """Dotted names of all imports in the file, those inside functions too; `from a import b` gives a and a.b."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports from the package's root, albert"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(module: str) -> set[str]:
    """The package's modules that `module` imports, without the package itself and without `module`."""
    known = {*package_modules(), *TEST_HELPERS}
    names = {name.removeprefix("albert.") for name in imported_names(package_modules()[module])}
    return (names & known) - {module, ""}


def imports_below_layers(layer_of: dict[str, int], imports: dict[str, set[str]]) -> list[str]:
    """One line for every import that goes upward."""
    return [
        f"{importer} imports {imported}"
        for importer, names in imports.items()
        for imported in sorted(names)
        if {imported, importer} <= layer_of.keys() and layer_of[imported] < layer_of[importer]
    ]


def circles(imports: dict[str, set[str]]) -> set[str]:
    """The modules that import each other in a circle, or depend on such: what is left when leaves are taken off."""
    left = {module: set(names) for module, names in imports.items()}
    while leaves := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in leaves}
    return set(left)


def all_imports() -> dict[str, set[str]]:
    return {module: imported_modules(module) for module in package_modules()}


def test_every_module_has_a_layer():
    assert sorted(package_modules().keys() - LAYER_OF.keys()) == []


def test_imports_go_downward_and_not_in_circles():
    imports = {module: names - TEST_HELPERS for module, names in all_imports().items()}
    assert imports_below_layers(LAYER_OF, imports) == []
    assert circles(imports) == set()


def test_upward_imports_and_circles_would_be_found():
    imports = {"low": {"high"}, "high": {"peer"}, "peer": {"high"}}
    layers = {"high": 0, "peer": 0, "low": 1}
    assert imports_below_layers(layers, imports) == ["low imports high"]
    assert circles(imports) == {"low", "high", "peer"}
    assert circles({"a": {"b"}, "b": set()}) == set()
    assert reachable("low", imports) == {"high", "peer"}


def reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    """Everything that `module` imports, directly or through others."""
    found: set[str] = set()
    waiting = set(imports.get(module, ()))
    while waiting:
        found |= waiting
        waiting = {name for known in waiting for name in imports.get(known, ())} - found
    return found


def test_the_engine_knows_nothing_of_albert():
    imports = all_imports()
    for module in ENGINE:
        assert reachable(module, imports) & UNKNOWN_TO_ENGINE == set(), module


def test_product_code_imports_no_test_code():
    for path in product_files():
        names = set(imported_names(path))
        from_tests = {name for name in names if name.split(".")[-1].endswith("_test")}
        assert not from_tests | names & {f"albert.{helper}" for helper in TEST_HELPERS}, path


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_imports_without_tensorflow(module):
    if module not in package_modules():
        pytest.skip(f"albert/{module}.py is not written yet")
    name = f"albert.{module}".rstrip(".")
    code = f"import sys, {name}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0, name


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


def test_no_pickles():
    found = []
    for path in product_files():
        imported = {name.split(".")[0] for name in imported_names(path)}
        found += [f"{path}: imports {name}" for name in imported & SERIALIZERS]
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                allowed = not (isinstance(node.value, ast.Constant) and node.value.value is False)
                found += [f"{path}:{node.value.lineno}: allow_pickle"] * allowed
    assert found == []
