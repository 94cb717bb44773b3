-- Sentences that somebody judges against a collection's notes, and what is promised from that.
CREATE TABLE support_labels (
    id INTEGER PRIMARY KEY,
    collection_id INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('quotation', 'prose', 'own')),
    sentence TEXT NOT NULL,
    place INTEGER NOT NULL,            -- in the order of labelling, which says nothing of the text
    passages TEXT NOT NULL,            -- JSON: path, lines and sha256 of the text of each
    score REAL NOT NULL,               -- what the check gave it, 0 to 1
    checker TEXT NOT NULL,             -- which check: scores of two can't be mixed
    verdict TEXT CHECK (verdict IN ('supported', 'partly', 'unsupported', 'skipped')),
    judged INTEGER,                    -- counts verdicts up, for undoing the last; null: waiting
    UNIQUE (collection_id, kind, sentence),
    CHECK ((verdict IS NULL) = (judged IS NULL))
);
CREATE TABLE support_promises (
    collection_id INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    checker TEXT NOT NULL,
    wrong REAL NOT NULL,               -- share of what is shown that may be unsupported
    threshold REAL,                    -- null: nothing is promised
    num_kept INTEGER NOT NULL,
    num_supported INTEGER NOT NULL,
    num_unsupported INTEGER NOT NULL,
    num_more INTEGER,
    PRIMARY KEY (collection_id, kind)
) WITHOUT ROWID;
