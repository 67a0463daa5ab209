-- Where feedback was read: of two records that say the same, the one at the lower offset stays. Rows of a program that did not
-- say where count as read before all others.
ALTER TABLE feedback ADD COLUMN origin_topic     TEXT    NOT NULL DEFAULT '';
ALTER TABLE feedback ADD COLUMN origin_partition INTEGER NOT NULL DEFAULT -1;
ALTER TABLE feedback ADD COLUMN origin_offset    INTEGER NOT NULL DEFAULT -1;
