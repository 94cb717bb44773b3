-- What a search would otherwise compute anew: of each passage's sentences the model's tokens
-- (sentence_tokens.py). NULL where an older version stored the vector, or the model tells none.
ALTER TABLE vectors ADD COLUMN sentences BLOB;

-- Where each word stands, read from the index itself: holds nothing of its own.
CREATE VIRTUAL TABLE occurrences USING fts5vocab(passages_fts, instance);
