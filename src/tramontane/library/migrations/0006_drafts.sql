-- Drafts with all their versions. A section is written once and never changed: a version lists
-- those it is made of, and one whose notes were forgotten is missing from the table.
CREATE TABLE drafts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    form TEXT NOT NULL,
    words INTEGER NOT NULL,
    is_honest INTEGER NOT NULL,
    is_finished INTEGER NOT NULL       -- 0: writing it was broken off
);
CREATE TABLE draft_sections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: versions name it
    draft_id INTEGER NOT NULL REFERENCES drafts (id) ON DELETE CASCADE,
    collection TEXT NOT NULL,          -- by name: a collection may leave the library and come back
    content TEXT NOT NULL              -- JSON, writing/kept_draft.py's
);
CREATE INDEX draft_sections_by_draft ON draft_sections (draft_id);
CREATE INDEX draft_sections_by_collection ON draft_sections (collection);
CREATE TABLE draft_versions (
    draft_id INTEGER NOT NULL REFERENCES drafts (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,           -- from 1
    made TEXT NOT NULL,                -- UTC, ISO 8601
    change TEXT NOT NULL,              -- what was done, for the reader
    sections TEXT NOT NULL,            -- JSON: ids of sections, in order
    PRIMARY KEY (draft_id, number)
) WITHOUT ROWID;
