-- What drift needs to know of a verdict beyond the rest, JSON; null for verdicts of a program that did not say.
ALTER TABLE verdicts_by_id ADD COLUMN drift TEXT;
