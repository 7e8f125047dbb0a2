"""Where rows are registered: a process beside this one, local workers of Dask, a running cluster, or Slurm.

Each takes one row for each of its workers at a time, so that a worker that dies takes no other row with it.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

from correlight.batch.row import Outcome, Work, run_row
from correlight.errors import UsageError
from correlight.parsing import read_text

# Dask lets its workers give every large array back to the system at once, and take it anew for the next one: 25 times
# as many page faults, and a quarter of all processor time.
_NANNY, _TRIM = "distributed.nanny.pre-spawn-environ", {"MALLOC_TRIM_THRESHOLD_": None}
_THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
_SECONDS = 4  # to wait for a scheduler to answer


class Pool(Protocol):
    """Where rows are registered."""

    def capacity(self) -> int:
        """How many rows can be registered at a time, at this moment."""
        ...

    def submit(self, work: Work) -> Future[Outcome]:
        """Begin a row."""
        ...

    def died(self, error: BaseException) -> bool:
        """Whether an error of a row says that its process ended."""
        ...


class OneProcess:
    """A process beside this one, which a row that ends it does not take with it. Needs no other package."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None

    def capacity(self) -> int:
        """One."""
        return 1

    def submit(self, work: Work) -> Future[Outcome]:
        """Begin a row, in a new process if the one before died."""
        if self._executor is not None:
            return self._executor.submit(run_row, work)
        spawn = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(1, mp_context=spawn, initializer=_end_with_parent)
        with _one_thread():
            # The process begins with the first row.
            return self._executor.submit(run_row, work)

    def died(self, error: BaseException) -> bool:
        """Whether the process ended."""
        if isinstance(error, BrokenProcessPool):
            self.close()
            return True
        return False

    def close(self) -> None:
        """End the process, whatever it is doing."""
        executor, self._executor = self._executor, None
        if executor is not None:
            for process in list((executor._processes or {}).values()):
                process.kill()
            executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that begin in the block calculate with one thread: libraries ask for it when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """End this process when the one that started it is gone; it would wait for work without end."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class DaskWorkers:
    """The workers of a scheduler of Dask distributed.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)

    def capacity(self) -> int:
        """The threads of all workers that there are at this moment."""
        return sum(self._client.nthreads().values())

    def submit(self, work: Work) -> Future[Outcome]:
        """Begin a row."""
        future: Future[Outcome] = self._executor.submit(run_row, work)
        return future

    def died(self, error: BaseException) -> bool:
        """Whether the worker ended."""
        from distributed import KilledWorker

        return isinstance(error, KilledWorker)


@contextmanager
def one_process() -> Iterator[OneProcess]:
    """A process beside this one."""
    pool = OneProcess()
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def local(workers: int) -> Iterator[DaskWorkers]:
    """So many worker processes on this machine, each on one core."""
    _must_be_installed("distributed")
    import dask
    from distributed import Client, LocalCluster

    # The system itself ends a worker that takes too much memory. Less would be allowed each if it were shared out, and
    # a worker that pauses would never go on.
    with (
        dask.config.set({f"{_NANNY}.{name}": value for name, value in _TRIM.items()}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=50,
            scheduler_kwargs={"allowed_failures": 0},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield DaskWorkers(client)


@contextmanager
def running(address: str) -> Iterator[DaskWorkers]:
    """The workers of a scheduler that runs already.

    Raises
    ------
    UsageError
        If it does not answer, or its workers have another version of correlight.
    """
    _must_be_installed("distributed")
    from distributed import Client

    from correlight import __version__

    try:
        client = Client(address, timeout=_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"A scheduler of Dask was expected at {address}, which does not answer ({error}); start one, or correct "
            "the address."
        ) from error
    with client:
        found = client.run(_version, on_error="return")
        strange = sorted({str(version) for version in found.values()} - {__version__})
        if strange:
            raise UsageError(
                f"The workers of {address} need correlight {__version__}, as this machine has it; they answered "
                f"{strange[0]}."
            )
        yield DaskWorkers(client)


@contextmanager
def slurm(config: Path) -> Iterator[DaskWorkers]:
    """Workers that Slurm starts as jobs.

    Parameters
    ----------
    config : Path
        A TOML file: ``workers``, how many jobs, and what `dask_jobqueue.SLURMCluster` takes, such as ``queue``,
        ``memory`` and ``walltime``.

    Raises
    ------
    UsageError
        If the file asks for something else, or there is no Slurm.
    """
    _must_be_installed("dask_jobqueue")
    import dask
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    options = _options(config)
    workers = options.pop("workers", 1)
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise UsageError(f"A number of workers, from 1, was expected in {config}; got {workers!r}.")
    given = {"cores": 1, "processes": 1, "memory": "4GB", **options}
    told = dask.config.serialize({"distributed": {"nanny": {"pre-spawn-environ": _TRIM}}})
    given["job_script_prologue"] = [
        f"export DASK_INTERNAL_INHERIT_CONFIG={told}",
        *given.get("job_script_prologue", ()),
    ]
    scheduler = {"dashboard_address": None, "allowed_failures": 0, **given.pop("scheduler_options", {})}
    try:
        cluster = SLURMCluster(**given, scheduler_options=scheduler)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(f"Slurm cannot be used as {config} says: {' '.join(str(error).split())}.") from error
    try:
        with cluster, Client(cluster) as client:
            cluster.scale(jobs=workers)
            yield DaskWorkers(client)
    finally:
        cluster.close()


def _options(config: Path) -> dict[str, Any]:
    text = read_text(config, "the options of a Slurm cluster in TOML")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The options of a Slurm cluster in TOML were expected in {config}: {error}.") from error


def _version() -> str:
    from correlight import __version__

    return __version__


def installed(package: str) -> bool:
    """Whether a package of the extra ``cluster`` is there."""
    return find_spec(package) is not None


def _must_be_installed(package: str) -> None:
    if not installed(package):
        raise UsageError(
            "Several processes need packages that are not installed; install correlight with the extra cluster, or let "
            "one process register the rows one after the other."
        )
