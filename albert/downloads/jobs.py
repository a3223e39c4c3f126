"""Fetching several data sets: files in parallel, each put in place when all it needs is there, and an honest end.

Owns the progress bars, what is printed, and the exit code. A data set that fails does not keep the others from coming.
"""

import contextlib
import dataclasses
import fcntl
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from albert.downloads import first_use
from albert.downloads.addresses import below
from albert.downloads.answers import RetryPolicy, Stopped
from albert.downloads.dataset import DownloadError, RemoteFile
from albert.downloads.placement import Destination
from albert.downloads.transfer import Callbacks, fetch
from albert.errors import UserError
from albert.system.files import advice_on
from albert.system.printing import print_as_far_as_read

OK, FAILED, INTERRUPTED = 0, 1, 130


@dataclasses.dataclass(frozen=True)
class Options:
    """How to fetch: number of files at once; the address that has all files, instead of the official ones."""

    parallel: int = 4
    base_url: str | None = None
    verify: bool = False
    patience: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)


def run(places: Sequence[Destination], options: Options) -> int:
    """Brings every place into its state and prints what became of each; returns the exit code.

    0: all is there; 1: something failed; 130: interrupted. Raises UserError when a root folder cannot be written to.
    """
    roots = sorted({place.root for place in places})
    stopped = threading.Event()
    with contextlib.ExitStack() as locks:
        for root in roots:
            locks.enter_context(_alone_in(root))
        wanted, failed, num_there = _look(places, options.verify)
        if not wanted and not failed:
            print_as_far_as_read("Nothing to do: everything is already there.")
            return OK
        try:
            num_fetched = 0
            for place, error in _bring(wanted, options, stopped):
                if error is None:
                    num_fetched += 1
                else:
                    failed.append((place, error))
        except KeyboardInterrupt:
            stopped.set()
            print("Interrupted. What has arrived is kept: the same command resumes from there.", file=sys.stderr)
            return INTERRUPTED
    print_as_far_as_read(f"{num_fetched} fetched, {num_there} already there, {len(failed)} failed.")
    if not failed:
        return OK
    for place, error in failed:
        print(f"FAILED {place.dataset.name}: {error}", file=sys.stderr)
    if any(place.has_unfinished for place, _ in failed):
        print("What has arrived is kept: the same command tries again and resumes from there.", file=sys.stderr)
    return FAILED


def _look(
    places: Sequence[Destination], verify: bool
) -> tuple[list[Destination], list[tuple[Destination, DownloadError | UserError]], int]:
    """Which are to be fetched, which cannot be, and how many are there."""
    wanted: list[Destination] = []
    failed: list[tuple[Destination, DownloadError | UserError]] = []
    num_there = 0
    for place in places:
        try:
            found = place.look(verify)
        except DownloadError as error:
            failed.append((place, error))
            continue
        except OSError as error:
            failed.append((place, DownloadError(f"{error.filename or place.folder} cannot be read: {error.strerror}")))
            continue
        if found is None:
            wanted.append(place)
            continue
        num_there += 1
        place.clean_up()  # an earlier call may have been stopped just before
        print_as_far_as_read(f"{place.dataset.name}: already there, {place.folder}{f' ({found})' if found else ''}")
    return wanted, failed, num_there


def _bring(
    places: Sequence[Destination], options: Options, stopped: threading.Event
) -> Iterator[tuple[Destination, DownloadError | UserError | None]]:
    """Fetches and puts in place; yields each place, as soon as it is known, with what went wrong."""
    bars = _Bars(options.parallel)
    pool = ThreadPoolExecutor(options.parallel, thread_name_prefix="download")
    futures: dict[Future, Destination] = {}
    waiting: dict[Destination, list[Future]] = {}
    try:
        for place in places:
            try:
                files = first_use.bind(_from(options.base_url, place.dataset.files), place.root)
                place.working_folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _cannot_write(place.working_folder, error) from error
            waiting[place] = [pool.submit(_fetch, file, place, options.patience, bars, stopped) for file in files]
            futures |= dict.fromkeys(waiting[place], place)
            if not files:
                yield place, _finish(place, [], bars)
        for future in as_completed(futures):
            place = futures[future]
            if all(other.done() for other in waiting[place]) and waiting[place]:
                done, waiting[place] = waiting[place], []
                yield place, _finish(place, done, bars)
    finally:
        # A thread that waits for a server is not waited for: what it has written stays usable at any moment.
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _finish(place: Destination, futures: Sequence[Future], bars: "_Bars") -> DownloadError | UserError | None:
    """Puts a data set in place whose files have all come to an end; returns what went wrong."""
    errors = [error for future in futures if (error := future.exception())]
    expected = [error for error in errors if isinstance(error, DownloadError | UserError)]
    if len(expected) < len(errors):
        raise next(error for error in errors if error not in expected)
    if errors:
        bars.say(f"{place.dataset.name}: failed", sys.stderr)
        with contextlib.suppress(OSError):
            place.working_folder.rmdir()  # if nothing has arrived
        return DownloadError("; ".join(map(str, errors)))
    arrived = [future.result() for future in futures]
    try:
        paths = {file.name: path for path, file in arrived} | dict(place.dataset.local_files)
        unpublished = [file for file in place.dataset.files if not file.has_checksum]
        fetched = {file.name: file for _, file in arrived}
        remarks = place.fill(fetched, paths)
        if unpublished:
            first_use.record([fetched[file.name] for file in unpublished], place.root)
    except DownloadError as error:
        place.clean_up()  # going on with the same files would end the same
        bars.say(f"{place.dataset.name}: failed", sys.stderr)
        return DownloadError(f"{error}. What was fetched is removed; the same command fetches it anew")
    except UserError as error:
        return error
    except OSError as error:
        return _cannot_write(place.folder, error)
    size = sum(file.num_bytes for file in fetched.values())
    about = "; ".join([f"{size / 1e6:.1f} MB", *remarks])
    bars.say(f"{place.dataset.name}: fetched, {place.folder} ({about})", sys.stdout)
    return None


def _fetch(
    file: RemoteFile, place: Destination, patience: RetryPolicy, bars: "_Bars", stopped: threading.Event
) -> tuple[Path, RemoteFile]:
    if stopped.is_set():
        raise Stopped
    with bars.one(file.name) as progress:
        return fetch(file, place.working_folder, patience, Callbacks(progress, bars.say), stopped)


def _from(base_url: str | None, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """The files as they lie on a mirror: all below one address, under their names."""
    if base_url is None:
        return list(files)
    return [dataclasses.replace(file, url=below(base_url, file.name)) for file in files]


@contextlib.contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Waits until no other process downloads into `root`, which is made. The lock is on the folder itself: no file."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(root, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another download into {root}.", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems lock no folders
            print(f"{root} cannot be locked ({error.strerror}): start only one download into it.", file=sys.stderr)
        yield
    finally:
        os.close(descriptor)


class _Bars:
    """One bar for each file that is on its way, on a terminal; lines above them. Used by several threads."""

    def __init__(self, parallel: int):
        self._rows: queue.SimpleQueue[int] = queue.SimpleQueue()
        for row in range(parallel):
            self._rows.put(row)

    @contextlib.contextmanager
    def one(self, name: str) -> Iterator[Callable[[int, int | None], None]]:
        """Gives the `progress` of a Callbacks."""
        row = self._rows.get()
        bar = tqdm(
            desc=name, position=row, leave=False, unit="B", unit_scale=True, disable=None, file=sys.stderr, miniters=1
        )

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            if not bar.n:
                bar.initial = done  # what an earlier call fetched does not count for the speed of this one
            bar.update(done - bar.n)

        try:
            yield progress
        finally:
            bar.close()
            self._rows.put(row)

    def say(self, line: str, stream: TextIO | None = None) -> None:
        """Prints a line above the bars, to the standard error if nothing else is given."""
        tqdm.write(line, file=stream or sys.stderr)


def _cannot_write(path: Path, error: OSError) -> UserError:
    where = error.filename or path
    return UserError(f"cannot write {where}: {error.strerror or error}. {advice_on(error, 'choose another folder')}.")
