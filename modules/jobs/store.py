"""The durable list of jobs: one SQLite file that several processes read and write.

Handlers of the page only add rows and read them; one worker process a lane
claims them. Everything that must survive a killed process is in this table or
in the job's own folder.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modules.errors import StudioError

State = Literal["queued", "running", "done", "failed", "cancelled"]
# Each lane has a worker of its own, so that a download of an hour holds up no render.
Lane = Literal["work", "download"]
LANES: tuple[Lane, ...] = ("work", "download")
DOWNLOADS = ("fetch_weights", "verify_weights", "import_weights")  # kinds of the second lane
# A job that kills its worker this often without getting any further is given up.
MAX_FRUITLESS_ATTEMPTS = 6
# Short jobs that somebody waits for at the page go before long renders.
PRIORITY = {"train_avatar": 3, "render": 2, "prepare_avatar": 1, "clone_voice": 1}

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, params TEXT NOT NULL,
  priority INTEGER NOT NULL, state TEXT NOT NULL, stage TEXT NOT NULL DEFAULT '',
  progress REAL NOT NULL DEFAULT 0, spent REAL NOT NULL DEFAULT 0,
  created REAL NOT NULL, started REAL, updated REAL, finished REAL,
  result TEXT, error TEXT, cancel_asked REAL,
  fruitless INTEGER NOT NULL DEFAULT 0, progress_at_claim REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, priority, created);
CREATE TABLE IF NOT EXISTS workers (
  lane TEXT PRIMARY KEY, pid INTEGER NOT NULL, born REAL NOT NULL, beat REAL NOT NULL
);
DROP TABLE IF EXISTS worker;
"""
# Of jobs too: where its progress (0 to 1) and its seconds stood when the stage under way began. Added to a table that
# is new as to one that an older studio has made.
LATER_COLUMNS = ("progress_at_stage", "spent_at_stage")


@dataclass(frozen=True)
class Job:
    """One durable piece of work. Times are Unix seconds; progress is 0 to 1."""

    id: str
    kind: str
    title: str
    params: dict[str, Any]
    state: State
    stage: str
    progress: float
    remaining: float | None
    created: float
    started: float | None
    finished: float | None
    result: dict[str, Any] | None
    error: StudioError | None
    cancelling: bool


@dataclass(frozen=True)
class WorkerSign:
    """The sign of life of the worker process: its pid, its birth and its last heartbeat (Unix seconds)."""

    pid: int
    born: float
    beat: float


def _in_lane(lane: Lane | None) -> str:
    """SQL that is true for the jobs of a lane; of all for None."""
    if lane is None:
        return "1"
    kinds = ", ".join(f"'{kind}'" for kind in DOWNLOADS)
    return f"kind {'IN' if lane == 'download' else 'NOT IN'} ({kinds})"


def _remaining(row: sqlite3.Row) -> float | None:
    """Seconds left if the rest goes as fast as the stage under way; None while that says nothing yet.

    Stages before it tell little: what was there already cost no time.
    """
    gained: float = row["progress"] - row["progress_at_stage"]
    spent: float = row["spent"] - row["spent_at_stage"]
    tells = (gained >= 0.02 and spent >= 1.0) or (gained > 0 and spent >= 10.0)
    return spent * (1.0 - row["progress"]) / gained if row["state"] == "running" and tells else None


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        title=row["title"],
        params=json.loads(row["params"]),
        state=row["state"],
        stage=row["stage"],
        progress=row["progress"],
        remaining=_remaining(row),
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        result=json.loads(row["result"]) if row["result"] else None,
        error=StudioError.from_dict(json.loads(row["error"])) if row["error"] else None,
        cancelling=row["cancel_asked"] is not None and row["state"] in ("queued", "running"),
    )


class JobStore:
    """Jobs in ``<data_dir>/studio.sqlite3``; safe to use from many threads and processes."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._path = data_dir / "studio.sqlite3"
        self._local = threading.local()
        with self._transaction() as database:
            # executescript would commit; the statements are run one by one inside the transaction.
            for statement in filter(str.strip, SCHEMA.split(";")):
                database.execute(statement)
            known = {row["name"] for row in database.execute("PRAGMA table_info(jobs)")}
            for column in LATER_COLUMNS:
                if column not in known:
                    database.execute(f"ALTER TABLE jobs ADD COLUMN {column} REAL NOT NULL DEFAULT 0")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def add(self, kind: str, title: str, params: dict[str, Any]) -> str:
        """Queue a job and return its id (32 hex digits)."""
        job_id = uuid.uuid4().hex
        with self._transaction() as database:
            database.execute(
                "INSERT INTO jobs (id, kind, title, params, priority, state, created)"
                " VALUES (?, ?, ?, ?, ?, 'queued', ?)",
                (job_id, kind, title, json.dumps(params), PRIORITY.get(kind, 0), time.time()),
            )
        return job_id

    def get(self, job_id: str) -> Job:
        """The job, or StudioError('job_unknown')."""
        row = self._connection().execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise StudioError("job_unknown")
        return _job(row)

    def newest(self, limit: int = 100, kinds: Sequence[str] | None = None) -> list[Job]:
        """Jobs, newest first."""
        where = f"WHERE kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        rows = self._connection().execute(
            f"SELECT * FROM jobs {where} ORDER BY created DESC LIMIT ?", (*(kinds or ()), limit)
        )
        return [_job(row) for row in rows]

    def waiting(self, lane: Lane | None = None) -> bool:
        """Whether any job of a lane is queued or running."""
        rows = self._connection().execute(
            f"SELECT 1 FROM jobs WHERE state IN ('queued', 'running') AND {_in_lane(lane)} LIMIT 1"
        )
        return rows.fetchone() is not None

    def claim(self, lane: Lane | None = None) -> Job | None:
        """Take the next queued job of a lane for its worker; None if there is none."""
        with self._transaction() as database:
            row = database.execute(
                "UPDATE jobs SET state = 'running', started = coalesce(started, ?), updated = ?, spent = 0,"
                " fruitless = CASE WHEN progress > progress_at_claim THEN 0 ELSE fruitless END,"
                " progress_at_claim = progress, stage = '', progress_at_stage = progress, spent_at_stage = 0"
                f" WHERE id = (SELECT id FROM jobs WHERE state = 'queued' AND {_in_lane(lane)}"
                " ORDER BY priority, created LIMIT 1)"
                " RETURNING *",
                (time.time(), time.time()),
            ).fetchone()
        return _job(row) if row else None

    def report(self, job_id: str, progress: float, stage: str, spent: float) -> None:
        """Note how far a running job is; ``spent`` seconds belong to this attempt's share of the progress."""
        self._connection().execute(
            "UPDATE jobs SET progress = max(progress, :progress), stage = :stage, spent = :spent, updated = :now,"
            " progress_at_stage = CASE WHEN stage = :stage THEN progress_at_stage ELSE max(progress, :progress) END,"
            " spent_at_stage = CASE WHEN stage = :stage THEN spent_at_stage ELSE :spent END"
            " WHERE id = :id AND state = 'running'",
            {"progress": progress, "stage": stage, "spent": spent, "now": time.time(), "id": job_id},
        )

    def finish(self, job_id: str, result: dict[str, Any]) -> None:
        """The job is done. A cancel that came too late changes nothing."""
        self._connection().execute(
            "UPDATE jobs SET state = 'done', progress = 1, result = ?, finished = ?, cancel_asked = NULL"
            " WHERE id = ? AND state = 'running'",
            (json.dumps(result), time.time(), job_id),
        )

    def fail(self, job_id: str, error: StudioError) -> None:
        """The job stopped with an error; it can be resumed."""
        self._connection().execute(
            "UPDATE jobs SET state = 'failed', error = ?, finished = ? WHERE id = ? AND state = 'running'",
            (json.dumps(error.to_dict()), time.time(), job_id),
        )

    def ask_cancel(self, job_id: str) -> None:
        """Cancel a job: at once while it is queued, else by asking its worker."""
        now = time.time()
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state = 'queued'", (now, job_id)
            )
            database.execute(
                "UPDATE jobs SET cancel_asked = coalesce(cancel_asked, ?) WHERE id = ? AND state = 'running'",
                (now, job_id),
            )

    def cancel_asked(self, job_id: str) -> float | None:
        """When the cancel of a job was asked for (Unix seconds), or None."""
        row = self._connection().execute("SELECT cancel_asked FROM jobs WHERE id = ?", (job_id,)).fetchone()
        asked: float | None = row["cancel_asked"]
        return asked

    def cancelled(self, job_id: str) -> None:
        """The worker has let go of a job whose cancel was asked for."""
        self._connection().execute(
            "UPDATE jobs SET state = 'cancelled', finished = ?, cancel_asked = NULL WHERE id = ? AND state = 'running'",
            (time.time(), job_id),
        )

    def running(self, lane: Lane | None = None) -> list[tuple[str, str, float | None]]:
        """Ids and kinds of running jobs of a lane, with the time their cancel was asked for."""
        rows = self._connection().execute(
            f"SELECT id, kind, cancel_asked FROM jobs WHERE state = 'running' AND {_in_lane(lane)}"
        )
        return [(row["id"], row["kind"], row["cancel_asked"]) for row in rows]

    def resume(self, job_id: str) -> None:
        """Queue a cancelled or failed job again; finished parts in its folder are used."""
        self._connection().execute(
            "UPDATE jobs SET state = 'queued', error = NULL, cancel_asked = NULL, finished = NULL, fruitless = 0"
            " WHERE id = ? AND state IN ('cancelled', 'failed')",
            (job_id,),
        )

    def delete(self, job_id: str) -> None:
        """Forget a job. Its folder is the caller's to remove."""
        self._connection().execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def recover(self, lane: Lane | None = None) -> None:
        """Put back what a dead worker left running; only the one living worker of the lane calls this."""
        crashed = json.dumps(StudioError("worker_crashed", retryable=True).to_dict())
        left = f"state = 'running' AND {_in_lane(lane)}"
        with self._transaction() as database:
            database.execute(
                f"UPDATE jobs SET state = 'cancelled', finished = ?, cancel_asked = NULL"
                f" WHERE {left} AND cancel_asked IS NOT NULL",
                (time.time(),),
            )
            database.execute(
                "UPDATE jobs SET fruitless = CASE WHEN progress > progress_at_claim THEN 0 ELSE fruitless + 1 END"
                f" WHERE {left}"
            )
            database.execute(
                f"UPDATE jobs SET state = 'failed', error = ?, finished = ? WHERE {left} AND fruitless >= ?",
                (crashed, time.time(), MAX_FRUITLESS_ATTEMPTS),
            )
            database.execute(f"UPDATE jobs SET state = 'queued' WHERE {left}")

    def finished(self) -> dict[str, bool]:
        """For every job, whether it is done."""
        rows = self._connection().execute("SELECT id, state FROM jobs")
        return {row["id"]: row["state"] == "done" for row in rows}

    def beat(self, pid: int, born: float, lane: Lane = "work") -> None:
        """The sign of life of a lane's worker."""
        self._connection().execute(
            "INSERT INTO workers VALUES (?, ?, ?, ?) ON CONFLICT (lane) DO UPDATE SET pid = excluded.pid,"
            " born = excluded.born, beat = excluded.beat",
            (lane, pid, born, time.time()),
        )

    def worker(self, lane: Lane = "work") -> WorkerSign | None:
        """The last sign of life of a lane's worker, or None before the first."""
        row = self._connection().execute("SELECT pid, born, beat FROM workers WHERE lane = ?", (lane,)).fetchone()
        return WorkerSign(row["pid"], row["born"], row["beat"]) if row else None
