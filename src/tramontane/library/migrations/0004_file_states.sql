-- What the file system said of the file when it was read: unchanged, the bytes are the same.
ALTER TABLE notes ADD COLUMN file_state TEXT NOT NULL DEFAULT '';
