"""The tables of a scan store, in SQL."""

VERSION = "2"
SCORE = "number, name, reason, on_grid, onsets, programs, set_aside, unit, steps, tempo, meter, downbeat, length_seconds, notes, lowest, highest, digest"

SCHEMA = f"""
PRAGMA page_size = 16384;
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE file (id INTEGER PRIMARY KEY, name TEXT, number INTEGER, size INTEGER, mtime_ns INTEGER,
                   sha256 TEXT, reason TEXT, reading TEXT, units INTEGER, UNIQUE (name, number));
CREATE TABLE score (id INTEGER PRIMARY KEY, file INTEGER, {SCORE});
CREATE INDEX score_of_file ON score (file);
CREATE TABLE music (score INTEGER PRIMARY KEY, columns BLOB);
CREATE TABLE ids (score INTEGER PRIMARY KEY, rows BLOB);
CREATE TABLE ear (id INTEGER PRIMARY KEY, score INTEGER, size INTEGER, first INTEGER, key INTEGER);
CREATE INDEX ear_of_score ON ear (score);
CREATE TABLE sample (ear INTEGER PRIMARY KEY, hashes BLOB);
CREATE TABLE gram (ear INTEGER PRIMARY KEY, hashes BLOB);
CREATE TABLE alike (pair INTEGER PRIMARY KEY, alike INTEGER);
CREATE TABLE grouped (digest BLOB, works BLOB);
INSERT INTO meta VALUES ('version', '{VERSION}');
COMMIT;
"""

LISTING = """
DROP TABLE IF EXISTS temp.listing;
CREATE TEMP TABLE listing (place INTEGER PRIMARY KEY, name TEXT, number INTEGER, size INTEGER, mtime_ns INTEGER, file INTEGER);
"""

OF_FILES = {
    "sample": "ear IN (SELECT ear.id FROM ear JOIN score ON ear.score = score.id WHERE score.file IN ({}))",
    "gram": "ear IN (SELECT ear.id FROM ear JOIN score ON ear.score = score.id WHERE score.file IN ({}))",
    "ear": "score IN (SELECT id FROM score WHERE file IN ({}))",
    "music": "score IN (SELECT id FROM score WHERE file IN ({}))",
    "ids": "score IN (SELECT id FROM score WHERE file IN ({}))",
    "score": "file IN ({})",
}
"""What belongs to files, in the order in which it can be deleted."""
