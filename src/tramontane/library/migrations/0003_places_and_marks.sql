ALTER TABLE passages ADD COLUMN page INTEGER;   -- of a PDF, from 1
ALTER TABLE passages ADD COLUMN box TEXT;       -- JSON: left, bottom, right, top, in points

CREATE TABLE dates (
    passage_id INTEGER NOT NULL REFERENCES passages (id) ON DELETE CASCADE,
    day TEXT NOT NULL,                          -- ISO, 2024-03-05
    PRIMARY KEY (passage_id, day)
) WITHOUT ROWID;
CREATE TABLE tags (
    passage_id INTEGER NOT NULL REFERENCES passages (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (passage_id, tag)
) WITHOUT ROWID;
CREATE TABLE links (
    passage_id INTEGER NOT NULL REFERENCES passages (id) ON DELETE CASCADE,
    target TEXT NOT NULL,                       -- as written, without its scheme
    PRIMARY KEY (passage_id, target)
) WITHOUT ROWID;

-- Files that gave no note: the same bytes are not tried again, and the reason stays at hand.
CREATE TABLE skipped (
    collection_id INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    reason TEXT NOT NULL,
    reader_version INTEGER NOT NULL,
    PRIMARY KEY (collection_id, path)
) WITHOUT ROWID;
