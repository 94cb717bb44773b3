CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL          -- grows with every change of notes or vectors
);
INSERT INTO state VALUES (1, 0);

CREATE TABLE collections (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL,
    owner TEXT NOT NULL,
    licence TEXT NOT NULL,
    salt BLOB NOT NULL,                -- random, made once: hashes of notes in experts carry it
    reader_version INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    collection_id INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    sha256 TEXT NOT NULL,              -- of the file's bytes
    metadata TEXT NOT NULL,            -- frontmatter as JSON
    may_train INTEGER NOT NULL,
    may_share INTEGER NOT NULL,
    licence TEXT,
    remarks TEXT NOT NULL,             -- JSON list
    UNIQUE (collection_id, path)
);

CREATE TABLE passages (
    id INTEGER PRIMARY KEY,
    note_id INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    title TEXT NOT NULL,
    heading TEXT NOT NULL,             -- JSON list
    text TEXT NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    vector_key BLOB NOT NULL,          -- sha256 of what is embedded: title, heading and text
    UNIQUE (note_id, position)
);
CREATE INDEX passages_by_vector_key ON passages (vector_key);

-- Keyed by content, so that a note which moves, or comes back, is not embedded again.
CREATE TABLE vectors (
    key BLOB NOT NULL,
    model TEXT NOT NULL,
    vector BLOB NOT NULL,              -- float32, little-endian
    PRIMARY KEY (key, model)
);

CREATE VIRTUAL TABLE passages_fts USING fts5 (
    title, heading, text,
    content = 'passages', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER passages_inserted AFTER INSERT ON passages BEGIN
    INSERT INTO passages_fts (rowid, title, heading, text)
    VALUES (new.id, new.title, new.heading, new.text);
END;
CREATE TRIGGER passages_deleted AFTER DELETE ON passages BEGIN
    INSERT INTO passages_fts (passages_fts, rowid, title, heading, text)
    VALUES ('delete', old.id, old.title, old.heading, old.text);
END;
CREATE TRIGGER passages_updated AFTER UPDATE ON passages BEGIN
    INSERT INTO passages_fts (passages_fts, rowid, title, heading, text)
    VALUES ('delete', old.id, old.title, old.heading, old.text);
    INSERT INTO passages_fts (rowid, title, heading, text)
    VALUES (new.id, new.title, new.heading, new.text);
END;
