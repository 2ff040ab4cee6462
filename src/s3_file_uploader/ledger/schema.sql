-- The ledger: what is known about each file, and the only state that outlives the process.
-- Written by one process (the holder of the lock beside it); read by any number.
-- SQLite >= 3.34: CHECK(typeof()) stands in for STRICT tables.
--
-- Times named *_at are seconds on the ledger's running clock, which counts only while a daemon runs
-- and never goes back, unless they say "wall": then they are seconds since the epoch, for people only.

-- Single values: the running clock, the tag of hidden names, when the ledger was made.
CREATE TABLE meta (
    key     TEXT PRIMARY KEY,
    value   NOT NULL
) WITHOUT ROWID;

-- Rules by name; files point at them by number.
CREATE TABLE rule (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE CHECK (typeof(name) = 'text')
);

-- Folders that hold, or held, candidates. A folder that two rules scan has a row for each.
CREATE TABLE folder (
    id          INTEGER PRIMARY KEY,
    rule        INTEGER NOT NULL REFERENCES rule (id),
    path        BLOB NOT NULL CHECK (typeof(path) = 'blob'),        -- absolute
    relative    BLOB NOT NULL CHECK (typeof(relative) = 'blob'),    -- below the fixed part of the pattern
    UNIQUE (rule, path)
);

-- One row for each candidate that is on the disk, as far as we know.
CREATE TABLE file (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: an answer that comes late finds no other file
    rule        INTEGER NOT NULL REFERENCES rule (id),
    folder      INTEGER NOT NULL REFERENCES folder (id),
    name        BLOB NOT NULL CHECK (typeof(name) = 'blob'),
    state       TEXT NOT NULL CHECK (state IN
                    ('settling', 'ready', 'sending', 'delivered', 'retained', 'parked')),
    generation  INTEGER NOT NULL DEFAULT 0,     -- grows with each change of content: an answer for an older one is void
    device      INTEGER NOT NULL,               -- the fingerprint, in five columns
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,               -- bytes
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    is_symlink  INTEGER NOT NULL DEFAULT 0,
    evidence    INTEGER NOT NULL DEFAULT 0,     -- of open writers: 0 none, 1 open, 2 closed (model.Evidence)
    changed_at  REAL NOT NULL,                  -- when a change was last observed
    claim_found INTEGER NOT NULL DEFAULT 0,     -- by the last claim of this content: 0 nothing, 1 a writer, 2 no evidence
    claimed_at  REAL NOT NULL DEFAULT 0,        -- when that was
    due_at      REAL,                           -- nothing happens before; NULL: in its state's queue, or held
    reason      TEXT NOT NULL DEFAULT '',       -- why it waits, is held or is parked; for people
    attempts    INTEGER NOT NULL DEFAULT 0,     -- failed tries that count
    key         TEXT,                           -- the object's name, resolved once
    checksum    TEXT,                           -- the receipt: algorithm:value as the far side echoed it
    etag        TEXT,
    version_id  TEXT,
    delivered_at_wall REAL,
    UNIQUE (folder, name)
);

-- The queue: oldest first, per rule.
CREATE INDEX file_queue ON file (rule, mtime_ns, name) WHERE state = 'ready' AND due_at IS NULL;
-- What waits for a time.
CREATE INDEX file_due ON file (due_at) WHERE due_at IS NOT NULL;
-- The newest of a folder.
CREATE INDEX file_newest ON file (folder, mtime_ns, name);
-- What is held until something happens in its folder.
CREATE INDEX file_held ON file (folder) WHERE state = 'settling' AND due_at IS NULL;
-- The few that are under way; SQLite uses a partial index only for the very words of its condition.
CREATE INDEX file_sending ON file (id) WHERE state = 'sending';
CREATE INDEX file_disposal ON file (rule, id) WHERE state = 'delivered' AND due_at IS NULL;
-- No two waiting files share an object name.
CREATE INDEX file_key ON file (key) WHERE key IS NOT NULL AND state IN ('ready', 'sending');

-- What a transport saved to go on with a delivery: JSON, opaque here but for its upload_id, and where it
-- leads. The row outlives its file, so that what was left on the far side can still be found.
CREATE TABLE checkpoint (
    file        INTEGER PRIMARY KEY,
    generation  INTEGER NOT NULL,               -- of the content that it is of
    path        BLOB NOT NULL CHECK (typeof(path) = 'blob'),
    size        INTEGER NOT NULL,               -- bytes, of the file
    way         TEXT NOT NULL,                  -- JSON: the settings that lead there
    bucket      TEXT NOT NULL,
    key         TEXT NOT NULL,
    data        TEXT NOT NULL CHECK (typeof(data) = 'text'),
    begun_at_wall REAL NOT NULL
);

-- Uploads that nobody goes on with, until the far side says that they are not there any more.
CREATE TABLE given_up (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    path        BLOB NOT NULL,                  -- these as in checkpoint
    way         TEXT NOT NULL,
    bucket      TEXT NOT NULL,
    key         TEXT NOT NULL,
    data        TEXT NOT NULL,
    begun_at_wall REAL NOT NULL,
    reason      TEXT NOT NULL,                  -- why nobody goes on with it
    given_up_at_wall REAL NOT NULL,
    due_at      REAL NOT NULL DEFAULT 0,        -- it is aborted no sooner
    attempts    INTEGER NOT NULL DEFAULT 0,     -- at aborting it
    error       TEXT NOT NULL DEFAULT ''        -- of the last one
);

-- Files being removed: the hidden name is made of the ledger's tag and the id, which is never reused.
CREATE TABLE intent (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    file        INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    rule        TEXT NOT NULL,
    folder      BLOB NOT NULL CHECK (typeof(folder) = 'blob'),
    name        BLOB NOT NULL CHECK (typeof(name) = 'blob'),
    device      INTEGER NOT NULL,               -- the fingerprint that was delivered
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    is_symlink  INTEGER NOT NULL,
    leased      INTEGER NOT NULL,               -- 1: a lease proved that no writer had it open
    details     TEXT NOT NULL,                  -- JSON: what else a recovery needs (done marker, place in the archive)
    superseded  INTEGER NOT NULL DEFAULT 0      -- 1: newer content had its name since; it must not get it back
);

-- The last files that left, for `explain` and `list`; bounded.
CREATE TABLE history (
    id          INTEGER PRIMARY KEY,
    rule        TEXT NOT NULL,
    path        BLOB NOT NULL CHECK (typeof(path) = 'blob'),
    state       TEXT NOT NULL CHECK (state IN ('removed', 'retained', 'vanished')),
    reason      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    key         TEXT,
    checksum    TEXT,
    etag        TEXT,
    version_id  TEXT,
    delivered_at_wall   REAL,
    finished_at_wall    REAL NOT NULL
);
CREATE INDEX history_path ON history (path);

-- Totals that outlive the rows they count.
CREATE TABLE total (
    rule    INTEGER NOT NULL REFERENCES rule (id),
    what    TEXT NOT NULL,
    value   INTEGER NOT NULL,
    PRIMARY KEY (rule, what)
) WITHOUT ROWID;

-- The destinations that are paused, and why; for status.
CREATE TABLE pause (
    destination TEXT PRIMARY KEY,
    reason      TEXT NOT NULL,
    since_wall  REAL NOT NULL
) WITHOUT ROWID;
