"""Which runs a sweep has: every task with every setting and seed, in folders of their own. No TensorFlow."""

import dataclasses
import hashlib
import itertools
import logging
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from albert.data.source_files import SourceFiles
from albert.errors import UserError
from albert.runs.sweep.jobs import (
    DATA_OF_EVALUATION,
    DATA_OF_PREDICTION,
    DATA_OF_START,
    EVAL_RESULTS,
    MODEL_OF_START,
    START,
    Job,
)
from albert.runs.sweep.request import ALL, SweepRequest
from albert.settings import Settings
from albert.settings.fields import SEED, problem_of
from albert.system.files import digest_ends
from albert.tasks.base import Span, Split, Task
from albert.tasks.leaderboard import GLUE, HELPED_BY_MNLI, MNLI, ranked_of, submission_tasks

CLASSIFIER, RACE = "run_multigpus_classifier", "run_multigpus_race"
SQUAD = {"SQuAD1.1": "run_multigpus_squad_v1", "SQuAD2.0": "run_multigpus_squad_v2"}
_MODEL = ("model_dir", "albert_config_file", "spm_model_file", "vocab_file")
OWN_DATA = ("train_file", "validation_file", "test_file")
# Where the downloads put the data, below the folder that the sweep is called from.
_DATA_DIRS = {CLASSIFIER: "glue_data", RACE: ".", **dict.fromkeys(SQUAD.values(), "SQuAD")}

_EVALUATING = {"do_train": "false", "recipe": "false", "discard_classifier_weights": "false"}
BEST = "model.ckpt-best"
_WEIGHTS = (".index", ".safetensors", ".bin", ".h5")  # the index of a checkpoint has the checksum of every tensor

# What differs between two runs of a task, by flag.
Setting = tuple[tuple[str, str], ...]
RECIPE = "recipe"  # the name of the setting that changes nothing


@dataclasses.dataclass(frozen=True)
class ParsedRun:
    """What a program makes of the flags of a run. `deciding` are those that decide its result, by name."""

    task: Task
    settings: Settings
    deciding: Mapping[str, str]


# The module of a program and flags by name -> what it makes of them; raises UserError as the program does.
Parse = Callable[[str, Mapping[str, str]], ParsedRun]


@dataclasses.dataclass(frozen=True)
class TaskOfSweep:
    """One task: the name of its folder, its program, and the flags of every one of its runs.

    `predicts` tells whether its runs predict a test set, and `predicted_digest` is that of one which `data_digest` is
    not of. `sources` are the files of all these, and `data` is as of a `Job`.
    """

    name: str
    module: str
    flags: Mapping[str, str]
    parsed: ParsedRun
    predicts: bool
    data_digest: str
    predicted_digest: str = ""
    sources: tuple[SourceFiles, ...] = ()
    data: Mapping[Split, str] = dataclasses.field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What is trained, with the metric that chooses its best checkpoint."""
        return self.parsed.task

    @property
    def score_metrics(self) -> tuple[str, ...]:
        """What the score of a run is the mean of: the metrics of GLUE, or the one that chooses checkpoints."""
        ranked = ranked_of(self.task)
        return ranked.metrics if ranked else (self.task.best_metric,)

    @property
    def lower_is_better(self) -> bool:
        """Whether small scores are the good ones. Those that GLUE reports never are, whatever chooses checkpoints."""
        return self.task.lower_is_better and not ranked_of(self.task)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run that trains, and those that evaluate its model on other data: their tasks' names -> jobs."""

    task: TaskOfSweep
    setting: Setting
    seed: int
    job: Job
    evaluated: Mapping[str, Job] = dataclasses.field(default_factory=dict)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of them."""
        return (self.job, *self.evaluated.values())


def label_of(setting: Setting) -> str:
    """The name of a setting: `learning_rate=1e-05,train_batch_size=16`."""
    return ",".join(f"{name}={value}" for name, value in setting) or RECIPE


def seeds_of(text: str) -> tuple[int, ...]:
    """The seeds that `1,2,3` names. Raises UserError for what is none, and for one that is named twice."""
    numbers = []
    for part in text.split(","):
        try:
            numbers.append(int(part))
        except ValueError:
            wrong = f"{part!r} is none" if len(part) <= 40 else "one of them is none"
            said = f"`seeds`={text} are not whole numbers with commas between them, as 1,2,3: {wrong}"
            raise UserError(said) from None
    seeds = tuple(numbers)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"`seeds`={text} names a seed twice")
    for seed in seeds:
        if problem := problem_of(seed, SEED):
            raise UserError(f"`seeds`={text}: {seed} {problem}")
    return seeds


def task_names(text: str) -> tuple[str, ...]:
    """The tasks that `all` or `MRPC,RTE` names. Raises UserError for one that is named twice."""
    names: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        names += [ranked.name for ranked in GLUE] if name.lower() == ALL else [name]
    if "" in names:
        raise UserError(f"`task_name`={text} has a comma without a task beside it")
    lowered = [name.lower() for name in names]
    if twice := [name for name, lower in zip(names, lowered, strict=True) if lowered.count(lower) > 1]:
        raise UserError(f"`task_name`={text} names {twice[0]} twice")
    return tuple(names)


def find_tasks(request: SweepRequest, parse: Parse) -> list[TaskOfSweep]:
    """The tasks of a sweep, with their data found.

    Raises UserError with everything that is wrong with the tasks, the flags of runs and the data, together.
    """
    tasks, problems = [], []
    for name in task_names(request.task_name) if request.task_name else (_own_name(request.run_flags),):
        try:
            tasks.append(_find_task(name, request, parse))
        except UserError as error:
            problems.append(str(error).rstrip("."))
    if problems:
        raise UserError.of(list(dict.fromkeys(problems)))
    names = {task.name for task in tasks}
    if request.from_mnli and (MNLI not in names or not names & set(HELPED_BY_MNLI)):
        raise UserError(f"`from_mnli` needs MNLI, and one of {', '.join(HELPED_BY_MNLI)}, among `task_name`.")
    return tasks


def _find_task(name: str, request: SweepRequest, parse: Parse) -> TaskOfSweep:
    own = not request.task_name
    besides = {_spelling(other): ranked.name for ranked in GLUE for other in ranked.evaluated}
    if _spelling(name) in besides:
        trained = besides[_spelling(name)]
        raise UserError(f"`task_name`={name} is not trained: name {trained}, whose runs are evaluated on it.")
    squad = next((known for known in SQUAD if _spelling(known) == _spelling(name)), None)
    flags = {"recipe": "true", "do_train": "true", "do_eval": "true", "keep_checkpoint_max": "1"}
    if squad:
        name, module = squad, SQUAD[squad]
        version = name.removeprefix("SQuAD")
        flags |= {"train_file": f"train-v{version}.json", "predict_file": f"dev-v{version}.json"}
    elif _spelling(name) == "race":
        name, module = "RACE", RACE
    else:
        module = CLASSIFIER
        flags |= {} if own else {"task_name": name}
    flags |= {} if own else {"data_dir": _DATA_DIRS[module]}
    flags |= {"num_gpu_cores": str(request.gpus_per_run)} if request.gpus_per_run > 1 else {}
    flags |= request.run_flags
    if own and flags.get("test_file"):  # own data has the splits that are asked for
        flags["do_predict"] = _word(request.do_predict)
    parsed = parse(module, {**_first_models(request), **flags, "output_dir": str(request.output_dir)})
    data_dir = parsed.settings.data.data_dir
    if not own and data_dir and not data_dir.is_dir():  # one problem, however many tasks
        command = f"python3 download_glue_data.py --data_dir={shlex.quote(str(data_dir))}"
        fetch = f"; {command} fetches tasks" * (module == CLASSIFIER)
        raise UserError(f"`data_dir`={data_dir} is not there: name the folder of the data{fetch}")
    ranked = ranked_of(parsed.task)
    if ranked:
        name = ranked.name
    elif module == CLASSIFIER and not own:
        name = parsed.task.name
    predicts = request.do_predict and _has_data(parsed, parsed.task.predict_split)
    # Of own data also the test file, whose rows may be scored.
    files = _files(parsed, ("train", "dev", "test") if own and predicts else ("train", "dev"))
    sources = [SourceFiles.read(itertools.chain(*files.values()))]
    data = {split: sources[0].digest_of(paths) for split, paths in files.items()}
    if predicts and not own and parsed.task.predict_split == "test":
        sources.append(_sources(parsed, "test"))
    # The programs for SQuAD evaluate by predicting.
    flags |= {} if isinstance(parsed.task.output, Span) else {"do_predict": _word(predicts)}
    digest, predicted = sources[0].digest, sources[1].digest if len(sources) > 1 else ""
    return TaskOfSweep(name, module, flags, parsed, predicts, digest, predicted, tuple(sources), data)


def _first_models(request: SweepRequest) -> dict[str, str]:
    """Of models that are compared the first, so that the flags of a task can be read before there are settings."""
    named = (text.partition("=") for text in request.grid)
    return {name: values.split(",")[0] for name, _, values in named if name in _MODEL}


def _files(parsed: ParsedRun, splits: Sequence[Split]) -> dict[Split, tuple[Path, ...]]:
    """Those of the rows that decide what a run scores. Raises UserError naming what is missing."""
    data_dir = parsed.settings.data.data_dir
    problems: list[str] = []
    files: dict[Split, tuple[Path, ...]] = {}
    for split in splits:
        try:
            files[split] = tuple(parsed.task.source_files(split, data_dir))
        except UserError as error:
            problems.append(str(error).rstrip("."))
    if problems:
        raise UserError.of(problems)
    return files


def _sources(parsed: ParsedRun, split: Split) -> SourceFiles:
    """Those of one split. Raises UserError as `_files`."""
    return SourceFiles.read(_files(parsed, (split,))[split])


def _has_data(parsed: ParsedRun, split: Split) -> bool:
    if split not in parsed.task.splits:
        return False
    try:
        parsed.task.source_files(split, parsed.settings.data.data_dir)
    except UserError as error:
        logging.warning("No predictions of task %s: %s", parsed.task.name, error)
        return False
    return True


def _own_name(run_flags: Mapping[str, str]) -> str:
    """own_<name of the file>, for own data. Raises UserError where the flags of the runs name none."""
    files = [run_flags[flag] for flag in OWN_DATA if flag in run_flags]
    if not files:
        raise UserError("`task_name` must be given, or own data as `train_file` among the flags of the runs.")
    return f"own_{_as_file_name(Path(files[0]).stem)}"


class Planner:
    """Makes the runs of tasks, settings and seeds."""

    def __init__(self, request: SweepRequest, tasks: Iterable[TaskOfSweep], parse: Parse):
        self._request = request
        self._tasks = {task.name: task for task in tasks}
        self._parse = parse
        self._parsed: dict[tuple[str, Setting], ParsedRun] = {}
        self._also = _evaluated_besides(self._tasks, request, parse)

    def runs(self, settings: Sequence[Setting], seeds: Sequence[int]) -> list[Trained]:
        """Every task with every setting and seed. Raises UserError for flags that do not go together."""
        # MNLI first, because others may begin from its runs.
        order = sorted(self._tasks, key=lambda name: name != MNLI)
        made: dict[tuple[str, Setting, int], Trained] = {}
        for name in order:
            for setting in settings:
                for seed in seeds:
                    start = made.get((MNLI, setting, seed)) if self._request.from_mnli else None
                    start = start if name in HELPED_BY_MNLI else None
                    made[name, setting, seed] = self.run(name, setting, seed, start)
        return [made[name, setting, seed] for name in self._tasks for setting in settings for seed in seeds]

    def run(self, name: str, setting: Setting, seed: int, start: Trained | None = None) -> Trained:
        """One run that trains, from the model of `start` if given, and those that evaluate its model."""
        task = self._tasks[name]
        folder = self._folder(name, setting, seed)
        flags = {**task.flags, **dict(setting), "seed": str(seed)}
        if start:
            flags |= {START: str(start.job.folder / BEST), "discard_classifier_weights": "true"}
        if (name, setting) not in self._parsed:
            self._parsed[name, setting] = self._parse(task.module, {**flags, "output_dir": str(folder)})
        parsed = self._parsed[name, setting]
        identity = {**parsed.deciding, "seed": str(seed), "data": task.data_digest}
        identity |= {"model": _digest_of_model(parsed.settings, is_made=start is not None)}
        if start:  # what was parsed may be of another seed
            identity |= {START: flags[START], DATA_OF_START: start.task.data_digest}
            identity |= {MODEL_OF_START: start.job.identity["model"]}
        if task.predicted_digest:
            identity |= {DATA_OF_PREDICTION: task.predicted_digest}
        products: tuple[str, ...] = (EVAL_RESULTS,)
        if task.predicts:
            products += _files_of_predictions(task.task)
        title = f"{name} {label_of(setting)} seed {seed}"
        after = start.job if start else None
        cost, data, sources = _cost(parsed), task.data, task.sources
        job = Job(title, folder, task.module, flags, identity, products, cost, after, data, sources)
        others = {}
        for other in self._also[name]:
            title, folder = f"{other.name} {label_of(setting)} seed {seed}", self._folder(other.name, setting, seed)
            own = {"task_name": other.name, "max_seq_length": str(parsed.settings.data.max_seq_length)}
            others[other.name] = _evaluation(title, folder, job, other, own)
        return Trained(task, setting, seed, job, others)

    def _folder(self, name: str, setting: Setting, seed: int) -> Path:
        return self._request.output_dir / name / _folder_of(setting) / f"seed{seed}"


def _evaluation(title: str, folder: Path, trained: Job, besides: "_Besides", flags: Mapping[str, str]) -> Job:
    """The run that evaluates and predicts another task with the model of `trained`, and trains nothing."""
    own = {
        **trained.flags,  # where the vocabulary is, and how to compute; what is said of training does not matter
        **flags,
        **_EVALUATING,
        "do_eval": _word(EVAL_RESULTS in besides.products),
        "do_predict": _word(besides.products[-1] != EVAL_RESULTS),
        "init_checkpoint": str(trained.folder / BEST),
    }
    identity = {name: value for name, value in trained.identity.items() if name != DATA_OF_PREDICTION}
    digests = {DATA_OF_EVALUATION: besides.data_digest, DATA_OF_PREDICTION: besides.predicted_digest}
    identity |= {name: digest for name, digest in digests.items() if digest}
    data: dict[Split, str] = {"dev": besides.data_digest} if besides.data_digest else {}
    return Job(title, folder, CLASSIFIER, own, identity, besides.products, 0.0, trained, data, besides.sources)


class _Besides(NamedTuple):
    """A task that models of another one are evaluated on, the files that this leaves, the digests of dev and test set.

    A digest is "" where that set is not read. `sources` are the files of both.
    """

    name: str
    products: tuple[str, ...]
    data_digest: str
    predicted_digest: str
    sources: tuple[SourceFiles, ...]


def _evaluated_besides(
    tasks: Mapping[str, TaskOfSweep], request: SweepRequest, parse: Parse
) -> dict[str, list[_Besides]]:
    """By task, the tasks that its models are evaluated on besides."""
    found: dict[str, list[_Besides]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        ranked = ranked_of(task.task)
        for other in ranked.evaluated if ranked else ():
            own = {"task_name": other, "output_dir": str(request.output_dir)}
            parsed = parse(task.module, {**_first_models(request), **task.flags, **_EVALUATING, **own})
            products: tuple[str, ...] = ()
            sources: dict[Split, SourceFiles] = {}
            if "dev" in parsed.task.splits and _has_data(parsed, "dev"):
                products += (EVAL_RESULTS,)
                sources["dev"] = _sources(parsed, "dev")
            if request.do_predict and _has_data(parsed, "test"):
                products += _files_of_predictions(parsed.task)
                sources["test"] = _sources(parsed, "test")
            dev, test = (sources[split].digest if split in sources else "" for split in ("dev", "test"))
            found[name] += [_Besides(other, products, dev, test, tuple(sources.values()))] if products else []
    return found


def _files_of_predictions(task: Task) -> tuple[str, ...]:
    """What a run leaves that predicts; of a task of GLUE the leaderboard's file, too."""
    if isinstance(task.output, Span):
        return ("predictions.json",)
    return ("test_results.tsv", *(known.submission_file for known in submission_tasks() if known.name == task.name))


def _cost(parsed: ParsedRun) -> float:
    """About how many tokens are trained on."""
    train, data = parsed.settings.train, parsed.settings.data
    if train.train_steps is not None:
        return float(train.train_steps * train.global_batch_size(1) * data.max_seq_length)
    size = sum(path.stat().st_size for path in parsed.task.source_files("train", data.data_dir))
    return size / 4 * (train.num_train_epochs or 1)


def digest_of_weights(settings: Settings) -> str:
    """Of configuration, vocabulary and weights that runs start from; what else lies in the folder does not count."""
    return _digest_of_model(settings, is_made=False, endings=_WEIGHTS)


def _digest_of_model(settings: Settings, is_made: bool, endings: tuple[str, ...] = ("",)) -> str:
    """Of the files that a run starts from, those in a folder by their `endings`; of weights that another run makes only
    the name.
    """
    total = hashlib.sha256()
    start = settings.model.init_checkpoint
    found: list[Path] = []
    if start and not is_made:
        # That of a hub module is in a folder of its own.
        found = [start, Path(f"{start}.index")]
        if start.is_dir():
            found = [path for path in sorted(start.glob("*")) if path.name.endswith(endings)]
            found.append(start / "variables/variables.index")
    for path in (settings.model.albert_config_file, settings.data.spm_model_file, settings.data.vocab_file, *found):
        if path and path.is_file() and ".data-" not in path.name:
            digest_ends(path, total)
    return total.hexdigest()


def _folder_of(setting: Setting) -> str:
    """A name for the folder of a setting; one that is no file name gets a digest, so that no two have the same."""
    label = label_of(setting)
    name = _as_file_name(label)
    if name == label and len(name) < 150:
        return name
    return f"{name[:100]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _word(value: bool) -> str:
    return str(value).lower()


def _as_file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+=,-]", "_", text)


def _spelling(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace("v", "")
