-- Questions asked of the notes, with their whole answers.
CREATE TABLE chats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id TEXT REFERENCES keys (id) ON DELETE CASCADE,  -- whose it is; null: this machine's
    question TEXT NOT NULL,
    asked TEXT NOT NULL,               -- UTC
    state TEXT NOT NULL CHECK (state IN ('unfinished', 'done', 'failed')),
    collections TEXT NOT NULL,         -- JSON list: where was looked
    experts TEXT NOT NULL,             -- JSON list: who could speak
    events TEXT NOT NULL,              -- JSON list of [name, data], as the page was sent them
    words TEXT NOT NULL,               -- question and answer, folded for search
    forgotten TEXT NOT NULL            -- JSON: what forgetting a collection took from it
);
CREATE INDEX chats_by_key ON chats (key_id, id);
