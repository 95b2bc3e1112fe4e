-- The ledger's file: what became of every event, per pipeline.

-- name: create_pipeline
-- "low" and "done" are the progress: every event below low is terminal, and low + i where bit i is set
-- (little-endian). "crc" covers the numbers: a silently damaged position would skip events.
CREATE TABLE pipeline (
  name          TEXT    PRIMARY KEY,
  active        INTEGER NOT NULL,
  base          INTEGER NOT NULL,
  low           INTEGER NOT NULL,
  done          BLOB    NOT NULL,
  delivered     INTEGER NOT NULL,
  filtered      INTEGER NOT NULL,
  dead_lettered INTEGER NOT NULL,
  attempts      INTEGER NOT NULL,
  duplicates    INTEGER NOT NULL,
  crc           INTEGER NOT NULL,
  condition     TEXT    NOT NULL
)

-- name: create_letter
CREATE TABLE letter (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  pipeline     TEXT    NOT NULL,
  sequence     INTEGER NOT NULL,
  code         TEXT    NOT NULL,
  reason       TEXT    NOT NULL,
  event        BLOB    NOT NULL,
  count        INTEGER NOT NULL,
  attempts     INTEGER NOT NULL,
  first_failed INTEGER NOT NULL,
  last_failed  INTEGER NOT NULL
)

-- name: create_letter_index
CREATE INDEX letter_pipeline ON letter (pipeline, id)

-- name: create_incident
-- What recovery had to do, for people.
CREATE TABLE incident (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL)

-- name: schema_now
-- What the file consists of, to compare with the statements above.
SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid

-- name: check
PRAGMA quick_check(1)

-- name: accounts
SELECT name, active, base, low, done, delivered, filtered, dead_lettered, attempts, duplicates, crc, condition
FROM pipeline ORDER BY name

-- name: account
SELECT name, active, base, low, done, delivered, filtered, dead_lettered, attempts, duplicates, crc, condition
FROM pipeline WHERE name = ?

-- name: put_account
INSERT OR REPLACE INTO pipeline
  (name, active, base, low, done, delivered, filtered, dead_lettered, attempts, duplicates, crc, condition)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_letter
INSERT INTO letter (pipeline, sequence, code, reason, event, count, attempts, first_failed, last_failed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: letters
SELECT pipeline, sequence, code, reason, event, count, attempts, first_failed, last_failed, id
FROM letter WHERE id > ? ORDER BY id LIMIT ?

-- name: letters_of
SELECT pipeline, sequence, code, reason, event, count, attempts, first_failed, last_failed, id
FROM letter WHERE pipeline = ? AND id > ? ORDER BY id LIMIT ?

-- name: finished
SELECT min(low) FROM pipeline WHERE active

-- name: incidents
SELECT at, what FROM incident ORDER BY id

-- name: add_incident
INSERT INTO incident (at, what) VALUES (?, ?)
