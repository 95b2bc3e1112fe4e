-- The ledger's file: what became of every event, per pipeline.

-- name: create_pipeline
-- "low" and "done" are the progress: every event below low is terminal, and low + i where bit i is set
-- (little-endian). Up to before "seen" the events of other tenants are among them: "others" of them, since "base".
-- "tenant" is empty where there are no others. "crc" covers all that: a silently damaged position would skip events.
CREATE TABLE pipeline (
  name          TEXT    PRIMARY KEY,
  active        INTEGER NOT NULL,
  paused        INTEGER NOT NULL,
  base          INTEGER NOT NULL,
  low           INTEGER NOT NULL,
  done          BLOB    NOT NULL,
  seen          INTEGER NOT NULL,
  others        INTEGER NOT NULL,
  delivered     INTEGER NOT NULL,
  filtered      INTEGER NOT NULL,
  dead_lettered INTEGER NOT NULL,
  replaying     INTEGER NOT NULL,
  again         INTEGER NOT NULL,
  attempts      INTEGER NOT NULL,
  duplicates    INTEGER NOT NULL,
  tenant        TEXT    NOT NULL,
  crc           INTEGER NOT NULL,
  condition     TEXT    NOT NULL
)

-- name: create_lane
-- A stretch of the journal that a pipeline delivers again: from first to before "end", "low" and the like as above;
-- "of_others" counts the events of other tenants in all of it. "asked" names the command, which may be carried out twice.
CREATE TABLE lane (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  pipeline TEXT    NOT NULL,
  asked    TEXT    NOT NULL,
  first    INTEGER NOT NULL,
  "end"    INTEGER NOT NULL,
  of_others INTEGER NOT NULL,
  low      INTEGER NOT NULL,
  done     BLOB    NOT NULL,
  seen     INTEGER NOT NULL,
  others   INTEGER NOT NULL,
  crc      INTEGER NOT NULL
)

-- name: create_last_commit
-- What the writer called its last transaction of outcomes: one that failed may be there all the same.
CREATE TABLE last_commit (only INTEGER PRIMARY KEY CHECK (only = 1), token BLOB NOT NULL)

-- name: create_letter
-- "target" is the pipeline that is to deliver a letter again, empty while it is dead; "rate" then is in events
-- per second, 0 without a limit. "history" holds the failures before the last one, as a JSON array.
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
  last_failed  INTEGER NOT NULL,
  tenant       TEXT    NOT NULL,
  event_id     TEXT    NOT NULL,
  target       TEXT    NOT NULL DEFAULT '',
  rate         REAL    NOT NULL DEFAULT 0,
  replayed_at  INTEGER NOT NULL DEFAULT 0,
  history      TEXT    NOT NULL DEFAULT '[]'
)

-- name: create_letter_index
CREATE INDEX letter_pipeline ON letter (pipeline, code, id)

-- name: create_target_index
CREATE INDEX letter_target ON letter (target, id) WHERE target <> ''

-- name: create_sequence_index
CREATE INDEX letter_sequence ON letter (pipeline, sequence)

-- name: create_extent_index
CREATE INDEX letter_extent ON letter (pipeline, last_failed)

-- name: create_receipt
-- "members" tells which of the numbers from first to last, see `receipts`; they stay as long as blocks do.
-- "owed" is how many of the events are at the fallback and have still to go to the first destination.
CREATE TABLE receipt (
  id       INTEGER PRIMARY KEY,
  pipeline TEXT    NOT NULL,
  first    INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  place    TEXT    NOT NULL,
  members  BLOB    NOT NULL,
  owed     INTEGER NOT NULL DEFAULT 0
)

-- name: create_receipt_index
CREATE INDEX receipt_last ON receipt (pipeline, last, first)

-- name: create_owed_index
CREATE INDEX receipt_owed ON receipt (pipeline, first, owed) WHERE owed > 0

-- name: create_letter_checksum
-- Guards a dead letter: the only copy of an event once the journal has dropped it.
CREATE TABLE letter_checksum (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL)

-- name: create_letter_checksum_trigger
CREATE TRIGGER letter_checksum_goes AFTER DELETE ON letter BEGIN DELETE FROM letter_checksum WHERE id = old.id; END

-- name: create_receipt_checksum
-- Guards a receipt: what says where an event is.
CREATE TABLE receipt_checksum (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL)

-- name: create_receipt_checksum_trigger
CREATE TRIGGER receipt_checksum_goes AFTER DELETE ON receipt BEGIN DELETE FROM receipt_checksum WHERE id = old.id; END

-- name: create_incident
-- What recovery had to do, for people.
CREATE TABLE incident (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL)

-- name: schema_now
-- What the file consists of, to compare with the statements above.
SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid

-- name: check
PRAGMA quick_check(1)

-- name: account_columns
name, active, paused, base, low, done, seen, others, delivered, filtered, dead_lettered, replaying, again, attempts,
duplicates, tenant, crc, condition

-- name: whole_accounts
-- In one statement, because that is one consistent reading.
SELECT {account_columns},
  (SELECT json_group_array(json_array(
     id, first, "end", of_others, lane.low, hex(lane.done), lane.seen, lane.others, lane.crc))
   FROM lane WHERE lane.pipeline = name),
  (SELECT coalesce(sum(owed), 0) FROM receipt WHERE receipt.pipeline = name AND owed > 0),
  EXISTS (SELECT 1 FROM letter WHERE target = name AND target <> '')
FROM pipeline

-- name: accounts
{whole_accounts} ORDER BY name

-- name: account
{whole_accounts} WHERE name = ?

-- name: put_account
INSERT OR REPLACE INTO pipeline ({account_columns}) 
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: note
-- That of an inactive one says until where it has events to deliver.
UPDATE pipeline SET condition = ? WHERE name = ? AND active

-- name: forget_pipeline
DELETE FROM pipeline WHERE name = ?

-- name: replay_range
SELECT pipeline, first, "end", of_others FROM lane WHERE id = ?

-- name: replay_ranges_asked
SELECT 1 FROM lane WHERE asked = ?

-- name: add_replay_range
INSERT INTO lane (pipeline, asked, first, "end", of_others, low, done, seen, others, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: move_replay_range
UPDATE lane SET low = ?, done = ?, seen = ?, others = ?, crc = ? WHERE id = ?

-- name: drop_replay_range
DELETE FROM lane WHERE id = ?

-- name: last_commit
SELECT token FROM last_commit

-- name: put_last_commit
INSERT OR REPLACE INTO last_commit (only, token) VALUES (1, ?)

-- name: add_letter
INSERT INTO letter (pipeline, sequence, code, reason, event, count, attempts, first_failed, last_failed, tenant, event_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: letter_sum
-- Over all that is said of the event; "checksum" is a function of ours.
checksum(id, pipeline, sequence, code, reason, CAST(event AS BLOB), count, attempts, first_failed, last_failed, tenant,
event_id, history)

-- name: guard_letters
-- Those that are new; numbers only grow.
INSERT INTO letter_checksum (id, crc)
SELECT id, {letter_sum} FROM letter WHERE id > (SELECT coalesce(max(id), 0) FROM letter_checksum)

-- name: guard_unguarded_letters
INSERT INTO letter_checksum (id, crc) SELECT id, {letter_sum} FROM letter WHERE id NOT IN (SELECT id FROM letter_checksum)

-- name: guard_letters_again
-- Those that have changed.
INSERT OR REPLACE INTO letter_checksum (id, crc)
SELECT id, {letter_sum} FROM letter WHERE id IN (SELECT value FROM json_each(?))

-- name: unsound_letters
SELECT id FROM letter WHERE {letter_sum} <> (SELECT crc FROM letter_checksum AS guard WHERE guard.id = letter.id)

-- name: drop_letter
DELETE FROM letter WHERE id = ?

-- name: letter_columns
-- An edited event was written as text once. The last two differ when the row is not as it was written.
pipeline, sequence, code, reason, CAST(event AS BLOB), count, attempts, first_failed, last_failed, tenant, event_id,
id, target, rate, replayed_at, history,
(SELECT crc FROM letter_checksum AS guard WHERE guard.id = letter.id), {letter_sum}

-- name: chosen
-- What a Selection selects.
(:pipeline IS NULL OR pipeline = :pipeline) AND (:tenant IS NULL OR tenant = :tenant)
AND (:code IS NULL OR code = :code)
AND (:since IS NULL OR last_failed >= :since) AND (:until IS NULL OR last_failed < :until)
AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))

-- name: letters
SELECT {letter_columns} FROM letter WHERE {chosen} AND id > :after ORDER BY id LIMIT :limit

-- name: dead_letter_groups
SELECT pipeline, code, count(*), sum(count), min(first_failed), max(last_failed)
FROM letter WHERE {chosen} GROUP BY pipeline, code ORDER BY pipeline, code

-- name: dead_events
SELECT coalesce(sum(count), 0) FROM (
  SELECT max(count) AS count FROM letter WHERE {chosen} AND target = '' GROUP BY sequence
)

-- name: dead_letter_extents
SELECT pipeline, count(*), min(last_failed) FROM letter GROUP BY pipeline

-- name: replayable
-- Dead, with an event to deliver, and with a pipeline that runs.
{chosen} AND target = '' AND length(event) > 0
AND coalesce(:to, pipeline) IN (SELECT name FROM pipeline WHERE active)

-- name: count_replayable
SELECT pipeline, sum(count) FROM letter WHERE {replayable} GROUP BY pipeline

-- name: count_chosen
SELECT coalesce(sum(count), 0) FROM letter WHERE {chosen}

-- name: replay
UPDATE letter
SET target = coalesce(:to, pipeline), rate = :rate, replayed_at = :at,
  -- who asks years later finds what was published, and who has changed it when
  history = iif(:event IS NULL, history, json_insert(history, '$[#]',
    json_object('editedAt', :at, 'editedBy', :by, 'event', CAST(event AS TEXT)))),
  event = coalesce(CAST(:event AS BLOB), event)
WHERE {replayable}

-- name: guard_edited
INSERT OR REPLACE INTO letter_checksum (id, crc) SELECT id, {letter_sum} FROM letter WHERE {chosen} AND replayed_at = :at

-- name: letter_at_or_before
SELECT {letter_columns} FROM letter WHERE pipeline = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1

-- name: add_receipt
INSERT INTO receipt (pipeline, first, last, at, attempts, place, members, owed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: receipt_sum
checksum(id, pipeline, first, last, at, attempts, place, members, owed)

-- name: guard_receipts
INSERT INTO receipt_checksum (id, crc)
SELECT id, {receipt_sum} FROM receipt WHERE id > (SELECT coalesce(max(id), 0) FROM receipt_checksum)

-- name: guard_unguarded_receipts
INSERT INTO receipt_checksum (id, crc)
SELECT id, {receipt_sum} FROM receipt WHERE id NOT IN (SELECT id FROM receipt_checksum)

-- name: guard_receipts_again
INSERT OR REPLACE INTO receipt_checksum (id, crc)
SELECT id, {receipt_sum} FROM receipt WHERE id IN (SELECT value FROM json_each(?))

-- name: unsound_receipts
SELECT id FROM receipt WHERE {receipt_sum} <> (SELECT crc FROM receipt_checksum AS guard WHERE guard.id = receipt.id)

-- name: drop_receipt
DELETE FROM receipt WHERE id = ?

-- name: receipt_columns
pipeline, first, last, at, attempts, place, members, owed, id,
(SELECT crc FROM receipt_checksum AS guard WHERE guard.id = receipt.id), {receipt_sum}

-- name: owed
SELECT {receipt_columns} FROM receipt WHERE pipeline = ? AND owed > 0 ORDER BY first LIMIT ?

-- name: pay
UPDATE receipt SET owed = 0 WHERE id IN (SELECT value FROM json_each(?))

-- name: add_receipts_of_letters
INSERT INTO receipt (pipeline, first, last, at, attempts, place, members)
SELECT pipeline, sequence, sequence + count - 1, ?, ?, ?, x'' FROM letter
WHERE target <> '' AND id IN (SELECT value FROM json_each(?))

-- name: add_receipts_of_purged
INSERT INTO receipt (pipeline, first, last, at, attempts, place, members)
SELECT pipeline, sequence, sequence + count - 1, :at, attempts, :place, x'' FROM letter WHERE {chosen} AND target = ''

-- name: receipts
-- Those that may hold an event, newest first; none holds events further apart than what is read ahead.
SELECT {receipt_columns} FROM receipt
WHERE pipeline = :pipeline AND last BETWEEN :sequence AND :sequence + 500000 AND first <= :sequence ORDER BY id DESC

-- name: forget_receipts
DELETE FROM receipt WHERE id IN (SELECT id FROM receipt WHERE at < ? AND owed = 0 ORDER BY id LIMIT 10000)

-- name: to_replay
SELECT {letter_columns} FROM letter WHERE target = ? AND target <> '' AND id > ? ORDER BY id LIMIT ?

-- name: count_orphans
-- Letters that wait for a pipeline that no longer runs.
SELECT pipeline, sum(count) FROM letter
WHERE target <> '' AND target NOT IN (SELECT name FROM pipeline WHERE active) GROUP BY pipeline

-- name: release_orphans
UPDATE letter SET target = ''
WHERE target <> '' AND target NOT IN (SELECT name FROM pipeline WHERE active)

-- name: count_ended
SELECT pipeline, sum(count) FROM letter
WHERE target <> '' AND id IN (SELECT value FROM json_each(?)) GROUP BY pipeline

-- name: drop_ended
DELETE FROM letter WHERE target <> '' AND id IN (SELECT value FROM json_each(?))

-- name: fail_again
UPDATE letter SET
  history = json_insert(history, '$[#]', json_object(
    'code', code, 'reason', reason, 'attempts', attempts, 'lastFailed', last_failed, 'replayedAt', replayed_at,
    'replayedTo', target)),
  target = '', code = ?, reason = ?, attempts = ?, last_failed = ?
WHERE id = ? AND target <> '' RETURNING pipeline, count

-- name: count_purgeable
SELECT coalesce(sum(count), 0) FROM letter WHERE {chosen} AND target = ''

-- name: purge
DELETE FROM letter WHERE {chosen} AND target = ''

-- name: finished
-- What is delivered again or owed to a first destination is not finished either, nor what an inactive one keeps.
SELECT tenant, min(low) FROM (
  SELECT tenant, low FROM pipeline WHERE active OR low < json_extract(condition, '$.owedUntil')
  UNION ALL SELECT tenant, lane.low FROM lane JOIN pipeline ON name = lane.pipeline WHERE active
  UNION ALL SELECT pipeline.tenant, receipt.first FROM receipt JOIN pipeline ON name = receipt.pipeline
    WHERE owed > 0 AND active
) GROUP BY tenant

-- name: incidents
SELECT at, what FROM incident ORDER BY id

-- name: add_incident
INSERT INTO incident (at, what) VALUES (?, ?)
