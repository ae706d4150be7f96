//! The tables, and how older ones become these.

/// Marks the file as ours: "lkst".
pub(super) const APPLICATION_ID: i64 = 0x6c6b_7374;

/// The newest version of the schema: the number of steps.
pub(super) const VERSION: i64 = 2;

/// What each version of the schema adds to the one before. A step is never changed once it is out; its number is the
/// version that it leads to, kept in `user_version`.
pub(super) const STEPS: [&str; 2] = [
    // 1
    "
    CREATE TABLE meta(
        key TEXT PRIMARY KEY,
        value NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO meta VALUES ('epoch', 0), ('clean', 1), ('log', lower(hex(randomblob(8))));

    -- In the order in which they were made; never deleted, so that no id comes back.
    CREATE TABLE sessions(
        pk INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        seq INTEGER NOT NULL,
        name TEXT,
        agent TEXT NOT NULL,
        status TEXT NOT NULL,
        ended INTEGER NOT NULL,
        live INTEGER NOT NULL,
        open_gates INTEGER NOT NULL,
        removed INTEGER NOT NULL DEFAULT 0, -- 1: its events are being deleted, 2: they are
        format INTEGER NOT NULL, -- of body; one of another format, or unreadable, is made anew from the log
        body TEXT NOT NULL
    );
    CREATE UNIQUE INDEX sessions_living_name ON sessions(name) WHERE ended = 0 AND name IS NOT NULL;
    CREATE INDEX sessions_name ON sessions(name) WHERE name IS NOT NULL;
    CREATE INDEX sessions_open ON sessions(ended) WHERE ended = 0;
    CREATE INDEX sessions_live ON sessions(live) WHERE live = 1;
    CREATE INDEX sessions_removed ON sessions(removed) WHERE removed = 1;

    CREATE TABLE boots(
        pk INTEGER PRIMARY KEY,
        boot TEXT NOT NULL UNIQUE
    );

    -- Large payloads, each once.
    CREATE TABLE blobs(
        pk INTEGER PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE, -- SHA-256 of data
        refs INTEGER NOT NULL,
        data TEXT NOT NULL
    );

    -- Not WITHOUT ROWID: rows of a kilobyte would overflow the cells of an index and quadruple the file.
    CREATE TABLE events(
        pos INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        wall INTEGER NOT NULL,
        awake INTEGER NOT NULL,
        boot INTEGER NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL, -- empty if it is in a blob
        blob INTEGER
    );
    CREATE UNIQUE INDEX events_session ON events(session, seq);

    CREATE TABLE gates(
        pk INTEGER PRIMARY KEY, -- in the order in which they opened
        session INTEGER NOT NULL,
        no INTEGER NOT NULL,
        open INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE(session, no)
    );
    CREATE INDEX gates_open ON gates(open) WHERE open = 1;

    CREATE TABLE ingested(
        session INTEGER PRIMARY KEY,
        attempt INTEGER NOT NULL,
        upto INTEGER NOT NULL,
        out_carry INTEGER,
        err_carry INTEGER,
        rebuild_from INTEGER NOT NULL
    );

    CREATE TABLE keys(
        pk INTEGER PRIMARY KEY,
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        body_hash TEXT NOT NULL,
        response TEXT NOT NULL,
        wall INTEGER NOT NULL,
        UNIQUE(scope, key)
    );
    CREATE INDEX keys_wall ON keys(wall);

    -- Caches: what cannot be read is folded again.
    CREATE TABLE snapshots(
        session INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        format INTEGER NOT NULL,
        state TEXT NOT NULL
    );
    ",
    // 2
    "
    -- Only ever added to, also when sessions are removed.
    CREATE TABLE audit(
        no INTEGER PRIMARY KEY,
        record TEXT NOT NULL,
        hash TEXT NOT NULL -- of the hash before it and the record
    );
    -- The open gates of one session, however many others have.
    CREATE INDEX gates_open_of ON gates(session) WHERE open = 1;
    -- Which session a record is of is told by itself alone, which its hash is of; by nothing that is no record any more.
    CREATE INDEX audit_session ON audit(
        CASE WHEN json_valid(CAST(record AS TEXT)) THEN json_extract(CAST(record AS TEXT), '$.session') END,
        no
    );
    ",
];
