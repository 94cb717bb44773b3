-- Who may ask over the network. The key itself is shown once and not kept.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,               -- the part of a key that isn't secret
    name TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('ask', 'manage')),
    salt BLOB NOT NULL,
    hash BLOB NOT NULL,                -- BLAKE2b of the secret part, salted
    created TEXT NOT NULL              -- UTC
);

-- Long work, done by a process of its own.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    arguments TEXT NOT NULL,           -- JSON
    lane TEXT NOT NULL,                -- jobs of one lane run one at a time
    state TEXT NOT NULL CHECK (
        state IN ('waiting', 'running', 'paused', 'done', 'failed', 'cancelled')
    ),
    wish TEXT CHECK (wish IN ('pause', 'cancel')),
    attempts INTEGER NOT NULL DEFAULT 0,
    what TEXT NOT NULL DEFAULT '',     -- what it is at, and how far
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    result TEXT,                       -- JSON
    error TEXT,
    created TEXT NOT NULL,             -- UTC, as are the others
    began TEXT,
    ended TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, lane);

CREATE TABLE job_lines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX job_lines_by_job ON job_lines (job_id, id);
