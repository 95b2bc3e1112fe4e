-- The journal's file: blocks of events, and the ids that deduplication remembers.
-- "events" and "ids" are looked up by sequence number alone; that number is the rowid, so an append goes to
-- the right edge of the tree and never into its middle.

-- name: create_block
-- One row per block. The short columns stand before the payload: headers are read without touching it.
CREATE TABLE block (
  first       INTEGER PRIMARY KEY,
  count       INTEGER NOT NULL,
  appended_at INTEGER NOT NULL,
  size        INTEGER NOT NULL,
  crc         INTEGER NOT NULL,
  tenants     BLOB    NOT NULL,
  payload     BLOB    NOT NULL
)

-- name: create_ids
-- Ids of the events from "first" on, 16 bytes each. Rows stay after their block is evicted.
CREATE TABLE ids (
  first       INTEGER PRIMARY KEY,
  appended_at INTEGER NOT NULL,
  crc         INTEGER NOT NULL,
  ids         BLOB    NOT NULL
)

-- name: create_floor
-- One row: no event gets a sequence number below "next". Raised when blocks are evicted.
CREATE TABLE floor (next INTEGER NOT NULL)

-- name: create_incident
-- What recovery had to do, for people.
CREATE TABLE incident (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL)

-- name: fill_floor
INSERT INTO floor (next) VALUES (1)

-- name: schema_now
-- What the file consists of, to compare with the statements above.
SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid

-- name: check
PRAGMA quick_check(1)

-- name: every_block
SELECT first, count, appended_at, size, crc, tenants, payload FROM block ORDER BY first

-- name: scan
-- Every header is read: how many blocks begin before their predecessor ends. Fails when a page is damaged.
SELECT count(*), coalesce(sum(first < previous_end), 0), coalesce(max(octet_length(tenants || '')), 0)
FROM (SELECT first, tenants, lag(first + count) OVER (ORDER BY first) AS previous_end FROM block)

-- name: last
SELECT first, count, appended_at, size, crc, tenants, payload FROM block ORDER BY first DESC LIMIT 1

-- name: save
-- A row found in a damaged file; refused where it overlaps one that is there.
INSERT INTO block (first, count, appended_at, size, crc, tenants, payload)
SELECT :first, :length, :appended_at, :size, :crc, :tenants, :payload
WHERE coalesce(
  (SELECT first + count FROM block WHERE first < :first + :length ORDER BY first DESC LIMIT 1), 0) <= :first

-- name: save_ids
-- Of rows that begin at one number the longest counts: it joins the others.
INSERT INTO ids (first, appended_at, crc, ids) VALUES (:first, :appended_at, :crc, :ids)
ON CONFLICT (first) DO UPDATE SET appended_at = excluded.appended_at, crc = excluded.crc, ids = excluded.ids
WHERE octet_length(excluded.ids) > octet_length(ids.ids)

-- name: lowest
-- Where what is retained begins; the number given where nothing is.
SELECT coalesce((SELECT min(first) FROM block), ?)

-- name: saved
-- Events that can be read.
SELECT coalesce(sum(count), 0) FROM block WHERE octet_length(payload) > 0

-- name: head
SELECT max(next, coalesce((SELECT first + count FROM block ORDER BY first DESC LIMIT 1), 1)) FROM floor

-- name: floor
-- No block below this number is retained.
SELECT next FROM floor

-- name: oldest
-- A block without payload stands for lost events: it is not retained content.
SELECT coalesce(
  (SELECT first FROM block WHERE octet_length(payload) > 0 ORDER BY first LIMIT 1),
  (SELECT max(next, coalesce((SELECT first + count FROM block ORDER BY first DESC LIMIT 1), 1)) FROM floor))

-- name: append
INSERT INTO block (first, count, appended_at, size, crc, tenants, payload) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: append_ids
INSERT INTO ids (first, appended_at, crc, ids) VALUES (?, ?, ?, ?)

-- name: drop_ids_from
-- Small rows make way for the row that joins them.
DELETE FROM ids WHERE first >= ?

-- name: read
-- From the block that holds the number, or the next one, with the number where the block after it begins.
SELECT first, count, appended_at, size, crc, tenants, payload,
  (SELECT min(first) FROM block AS later WHERE later.first > block.first)
FROM block
WHERE first >= coalesce((SELECT max(first) FROM block WHERE first <= :start), :start)
ORDER BY first

-- name: read_headers
-- The same without payload, for blocks whose payload cannot be reached.
SELECT first, CAST(count AS INTEGER), CAST(appended_at AS INTEGER), 0, 0, CAST(tenants AS BLOB), NULL,
  (SELECT min(first) FROM block AS later WHERE later.first > block.first)
FROM block
WHERE first >= coalesce((SELECT max(first) FROM block WHERE first <= :start), :start)
ORDER BY first
LIMIT 1

-- name: headers
-- From the block that holds the number, or the next one; payloads are not touched.
SELECT first, count, appended_at, tenants FROM block
WHERE first >= coalesce((SELECT max(first) FROM block WHERE first <= ?1), ?1) ORDER BY first LIMIT ?2

-- name: holding
-- The block that may hold a number.
SELECT first, count, appended_at, size, crc, tenants, payload
FROM block WHERE first <= ? ORDER BY first DESC LIMIT 1

-- name: appended_at
-- Of the block that may hold a number, and where that block ends.
SELECT appended_at, first + count FROM block WHERE first <= ? ORDER BY first DESC LIMIT 1

-- name: between
-- From the first to the last block of a time that can be read.
SELECT min(first), max(first + count) FROM block
WHERE appended_at >= ? AND appended_at < ? AND octet_length(payload) > 0

-- name: evictable
-- The oldest blocks, to be judged one by one.
SELECT first + count, appended_at, octet_length(payload) FROM block ORDER BY first LIMIT ?

-- name: thinnable
-- From the block that holds the number, or the next one, to be judged by their tenants.
SELECT first, count, size, tenants, octet_length(payload) FROM block
WHERE first >= coalesce((SELECT max(first) FROM block WHERE first <= ?1), ?1) ORDER BY first LIMIT ?2

-- name: rewrite
-- A block of which less is kept, unless it is gone or was changed meanwhile.
UPDATE block SET size = :size, crc = :crc, tenants = :tenants, payload = :payload
WHERE first = :first AND crc = :before

-- name: evict
DELETE FROM block WHERE first < ?

-- name: raise_floor
UPDATE floor SET next = max(next, ?)

-- name: expired_ids
-- Whether the oldest ids have left the deduplication window.
SELECT 1 FROM ids WHERE first = (SELECT min(first) FROM ids) AND appended_at < ?

-- name: evict_ids
-- Ids older than the deduplication window.
DELETE FROM ids WHERE first IN (SELECT first FROM ids ORDER BY first LIMIT ?2) AND appended_at < ?1

-- name: ids_ascending
-- To rebuild the memory of deduplication.
SELECT first, appended_at, crc, ids FROM ids WHERE first >= :start ORDER BY first

-- name: ids_descending
-- The newest first, from the row that may hold number "end - 1" down to the one that may hold "start".
SELECT first, appended_at, crc, ids FROM ids
WHERE first < :end AND first >= coalesce((SELECT max(first) FROM ids WHERE first <= :start), 0)
ORDER BY first DESC

-- name: incidents
SELECT at, what FROM incident ORDER BY id

-- name: add_incident
INSERT INTO incident (at, what) VALUES (?, ?)

-- name: pages
-- Pages in use, and their size in bytes.
SELECT page_count - freelist_count, page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size
