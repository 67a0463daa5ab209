-- What the model was computed in; null in verdicts of a program that did not say.
ALTER TABLE verdicts_by_id ADD COLUMN precision TEXT;
