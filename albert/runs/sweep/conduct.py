"""The way through a sweep: plan, run what is not finished, compare, submit. No TensorFlow."""

import dataclasses
import logging
import shlex
from collections.abc import Callable, Sequence
from itertools import starmap
from pathlib import Path

from albert.errors import UserError
from albert.runs.sweep import slurm
from albert.runs.sweep.earlier_sweep import check_earlier_sweep
from albert.runs.sweep.jobs import RECORD, has_damaged_test_metrics
from albert.runs.sweep.picture import draw
from albert.runs.sweep.plan import Parse, Planner, TaskOfSweep, Trained, find_tasks, seeds_of
from albert.runs.sweep.progress import Display
from albert.runs.sweep.request import LOCAL, RANDOM, SLURM, TPE, SweepRequest
from albert.runs.sweep.results import FAILED, FINISHED, MISSING, PRUNED, Row, results_csv, row_of
from albert.runs.sweep.scheduler import Command, Failure, LongestFirst, Scheduler
from albert.runs.sweep.search import check_names, settings_of
from albert.runs.sweep.slots import Slot, device_flags, slots_for
from albert.runs.sweep.submission import SUBMISSION, files_of, missing_files, packed
from albert.runs.sweep.table import TaskResult, as_json, compare, markdown, scores_in
from albert.system.files import cannot_write, delete_leftovers, finish_texts, write_bytes, write_texts
from albert.system.locks import OutputLock
from albert.system.printing import counted, part_of, print_as_far_as_read
from albert.system.text_encoding import read_regular
from albert.tasks.base import Task
from albert.tasks.leaderboard import ranked_of
from albert.tasks.scoring import TEST_SCORES

RESULTS, TABLE, PICTURE = "results.csv", "table.md", "sweep.png"
TABLE_JSON = "table.json"
_ASIDE = "tables.old-{}"
_PACKAGE_ROOT = Path(__file__).parents[3]


@dataclasses.dataclass
class Sweep:
    """One sweep. `parse` and `command` are the command lines of the programs: read, and written.

    `use` is the command line that predicts with a run's model; "" leaves it out.
    """

    request: SweepRequest
    parse: Parse
    command: Command
    use: Callable[[Task, Path], str] = lambda task, folder: ""
    display: Display = dataclasses.field(default_factory=Display)

    def run(self) -> list[Failure]:
        """Does what the request asks for; returns what failed.

        Raises UserError for everything that is wrong before the first run starts, and Interrupted after a signal.
        """
        request = self.request
        check_names(request)
        seeds = seeds_of(request.seeds)
        tasks = find_tasks(request, self.parse)
        self._check_count(len(tasks), len(seeds))
        planner = Planner(request, tasks, self.parse)
        if request.search == TPE:
            return self._search(planner, tasks, seeds)
        runs = planner.runs(settings_of(request), seeds)
        if request.dry_run:
            self._print_commands(runs)
            return []
        if request.launcher in (LOCAL, SLURM):
            check_earlier_sweep(request.output_dir, runs, self.parse)
        if request.launcher == LOCAL and not all(job.is_finished() for trained in runs for job in trained.jobs):
            self._slots()  # what this machine lacks is told before there is a folder
        with self._folder():
            if request.launcher == SLURM:
                self._write_slurm(runs)
                return []
            failures = self._run_jobs(runs)
            self._report(runs, failures)
        return failures

    def _search(self, planner: Planner, tasks: Sequence[TaskOfSweep], seeds: Sequence[int]) -> list[Failure]:
        """TPE decides by the runs before. What the best models are evaluated on besides comes when they are known."""
        from albert.runs.sweep.optuna_search import TpeQueue, import_optuna

        import_optuna()
        if self.request.launcher == LOCAL:
            self._slots()
        with self._folder():
            queue = TpeQueue(self.request, planner, tasks, seeds)
            failures = self._scheduler(queue.runs()).run(queue) if self.request.launcher == LOCAL else []
            runs = queue.runs()
            alone = [row_of(dataclasses.replace(trained, evaluated={})) for trained in runs]
            results = compare(alone, self.request.report)
            chosen = [row.trained.job for result in results if result.chosen for row in result.chosen.rows]
            kept = [run if run.job in chosen else dataclasses.replace(run, evaluated={}) for run in runs]
            if self.request.launcher == LOCAL:
                failures += self._run_jobs([run for run in kept if run.job in chosen])
            self._report(kept, failures, unfinished=PRUNED)
        return failures

    def _check_count(self, num_tasks: int, num_seeds: int) -> None:
        request = self.request
        settings = request.trials if request.search == TPE else len(settings_of(request))
        count = num_tasks * settings * num_seeds
        factors = ((num_tasks, "task"), (settings, "setting"), (num_seeds, "seed"))
        product = f"{' x '.join(starmap(counted, factors))} = {counted(count, 'run')}"
        if count > request.max_runs:
            raise UserError(f"{product}, more than `max_runs`={request.max_runs}. Ask for fewer, or raise `max_runs`.")
        if request.search == RANDOM and settings < request.trials:
            logging.warning("The space has %s, fewer than `trials`=%d.", counted(settings, "setting"), request.trials)
        logging.info("%s.", product)

    def _folder(self) -> OutputLock:
        """The folder of the sweep, for this process alone."""
        lock = OutputLock(self.request.output_dir)
        finish_texts(self.request.output_dir)
        delete_leftovers(self.request.output_dir)
        return lock

    def _write_slurm(self, runs: Sequence[Trained]) -> None:
        script = self.request.output_dir / slurm.SCRIPT
        files = slurm.files_for(self.request, runs, self.command, _PACKAGE_ROOT)
        if files:
            write_texts(self.request.output_dir, files)
            logging.info("Wrote %s: start it with sbatch.", script)
            return
        # Those of before start runs that are finished.
        for path in (script, *self.request.output_dir.glob(slurm.COMMANDS)):
            path.unlink(missing_ok=True)
        logging.info("All runs are finished: nothing is left for Slurm. `launcher`=none compares them.")

    def _print_commands(self, runs: Sequence[Trained]) -> None:
        flags = device_flags(self.request)
        jobs = [job for trained in runs for job in trained.jobs]
        done = "  # is finished"  # a comment: the line stays a command
        lines = [shlex.join(self.command(job.module, job.all_flags(flags))) + done * job.is_finished() for job in jobs]
        print_as_far_as_read("\n".join(lines))

    def _run_jobs(self, runs: Sequence[Trained]) -> list[Failure]:
        if self.request.launcher != LOCAL:
            return []
        jobs = [job for trained in runs for job in trained.jobs]
        waiting = [job for job in jobs if not job.is_finished()]
        if len(waiting) < len(jobs):
            logging.info("Finished already: %s.", part_of(len(jobs) - len(waiting), len(jobs), "run"))
        if not waiting:
            return []
        queue = LongestFirst(waiting)
        failures = self._scheduler(runs).run(queue)
        return failures + queue.left_out

    def _slots(self) -> list[Slot]:
        """Those of this machine. Raises UserError where it has not what is asked for."""
        slots = slots_for(self.request)
        if slots[0].gpus and "num_gpu_cores" in self.request.run_flags:
            raise UserError("the GPUs of a run are `gpus_per_run`: leave `num_gpu_cores` out of the flags of the runs.")
        return slots

    def _scheduler(self, runs: Sequence[Trained]) -> Scheduler:
        slots = self._slots()
        side_by_side = f"Up to {len(slots)} runs side by side" if len(slots) > 1 else "One run at a time"
        logging.info("%s: %s.", side_by_side, "; ".join(map(str, slots)))
        smaller = {job for trained in runs if trained.task.task.lower_is_better for job in trained.jobs}
        return Scheduler(slots, self.display, self.command, self.request.fail_fast, lambda job: job in smaller)

    def _report(self, runs: Sequence[Trained], failures: Sequence[Failure], unfinished: str = MISSING) -> None:
        """Writes what the runs scored, and says what failed."""
        request = self.request
        failed = {failure.job for failure in failures}
        self._warn_of_damage(runs)
        rows = [row_of(trained, FAILED if failed & set(trained.jobs) else unfinished) for trained in runs]
        for row in rows:
            if row.state == FINISHED and row.score is None:
                logging.warning("%s scores no number: it is in no mean.", row.trained.job.name)
        ours = {job.folder for trained in runs for job in trained.jobs}
        others = [path for path in request.output_dir.glob(f"*/*/*/{RECORD}") if path.parent not in ours]
        if others:
            logging.info(
                "The table has the runs of this command; %s beside them in %s.",
                counted(len(others), "other run"), request.output_dir,
            )  # fmt: skip
        results = compare(rows, request.report)
        keeps = not any(row.state == FINISHED for row in rows) and bool(scores_in(self._earlier_table()))
        self._write_tables(rows, results, keeps)
        try:
            if not keeps and any(ranked_of(trained.task.task) for trained in runs) and request.do_predict:
                self._write_submission(results)
            self._name_models([] if keeps else results)
        finally:  # at the end, where it is seen, also where a file of predictions does not fit
            for failure in failures:
                logging.error("FAILED %s: %s", failure.job.name, failure.reason)
            if failures:
                logging.error("%s failed; %s.", counted(len(failures), "run"), _what_to_do(failures))

    def _name_models(self, results: Sequence[TaskResult]) -> None:
        """Says how to use the best run of each task's chosen setting."""
        for result in results:
            if result.chosen and (command := self.use(result.chosen.best.trained.task.task, result.chosen.best.folder)):
                of_task = f" of {result.task}" * (len(results) > 1)
                logging.info("Use the best model%s: %s", of_task, command)

    def _warn_of_damage(self, runs: Sequence[Trained]) -> None:
        """Of what would be missing from the table without a word."""
        jobs = [job for trained in runs for job in trained.jobs] if self.request.launcher != LOCAL else []
        for job in jobs:  # which otherwise has failed
            if damaged := job.damaged_file():
                advice = "the same command with `launcher`=local runs it again"
                logging.warning("%s is damaged: %s counts as not finished; %s.", damaged, job.name, advice)
        for trained in runs:
            if has_damaged_test_metrics(trained.job.folder):
                path = trained.job.folder / TEST_SCORES
                logging.warning("%s is damaged: the table lacks the test score of %s.", path, trained.job.name)

    def _write_tables(self, rows: Sequence[Row], results: Sequence[TaskResult], keeps_earlier: bool) -> None:
        """Writes and prints the tables; with `keeps_earlier` only prints, since they would replace scores by none."""
        report = self.request.report
        table = markdown(results, report)
        if keeps_earlier:
            print_as_far_as_read(table)
            folder = self.request.output_dir
            logging.warning("No run is finished: the results in %s stay those of an earlier sweep.", folder)
            return
        texts = {
            RESULTS: results_csv(rows),
            TABLE: table,
            TABLE_JSON: as_json(results, report),
        }
        if scores_in(self._earlier_table()) - scores_in(texts[TABLE_JSON].encode()):
            self._move_tables_aside()
        picture = draw(results)
        write_texts(self.request.output_dir, {**texts, **({PICTURE: picture} if picture else {})})
        print_as_far_as_read(table)
        logging.info("Results: %s", self.request.output_dir)

    def _earlier_table(self) -> bytes:
        try:
            return read_regular(self.request.output_dir / TABLE_JSON)
        except OSError:
            return b""

    def _move_tables_aside(self) -> None:
        """Keeps the results of an earlier call that have scores which are not among those of this one."""
        folder, earlier, number = self.request.output_dir, self._earlier_table(), 1
        aside = folder / _ASIDE.format(number)
        try:
            while aside.exists():
                kept = aside / TABLE_JSON
                if kept.is_file() and read_regular(kept) == earlier:
                    return  # two commands take turns
                number += 1
                aside = folder / _ASIDE.format(number)
            aside.mkdir()
            # The one that says that there are results goes last.
            for name in (RESULTS, TABLE, PICTURE, SUBMISSION, TABLE_JSON):
                if (folder / name).exists():
                    (folder / name).rename(aside / name)
        except OSError as error:
            raise cannot_write(aside, error) from error
        logging.warning("The earlier table has scores that this one lacks: it was moved to %s.", aside)

    def _write_submission(self, results: Sequence[TaskResult]) -> None:
        path = self.request.output_dir / SUBMISSION
        path.unlink(missing_ok=True)  # of runs that may no longer be the best
        files = files_of(results)
        missing = missing_files(files)
        if missing and not (files and self.request.partial_submission):
            logging.warning(
                "%s is not written: GLUE's leaderboard wants every task, and these files are missing: %s. "
                "`partial_submission` writes it without them.",
                path, ", ".join(missing),
            )  # fmt: skip
            return
        if missing:
            logging.warning("%s is partial, without %s: the leaderboard wants them all.", path, ", ".join(missing))
        write_bytes(path, packed(files))
        logging.info("Submission: %s", path)


def _what_to_do(failures: Sequence[Failure]) -> str:
    """About runs that failed: what ended with a mistake of the user's would end so again."""
    again = "the same command runs what failed again, and no finished run"
    return f"correct what is said above; then {again}" if any(failure.is_mistake for failure in failures) else again
