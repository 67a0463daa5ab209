//! What a check says: one JSON object for programs, a table for people.

use std::{io, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    findings::{Fault, Findings},
    rows,
    tally::Counts,
};

/// All that a check has to say.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) counts: Counts,
    /// `None` where the store was left alone.
    pub(crate) rows: Option<rows::Counts>,
    pub(crate) findings: Findings,
    /// Partitions in which a transaction did not end.
    pub(crate) open: Vec<String>,
    pub(crate) took: Duration,
}

impl Report {
    /// One line.
    pub(crate) fn json(&self) -> Value {
        let Counts { reviews, verdicts, dead_letters, pending, forgotten } = self.counts;
        let rows = self.rows.unwrap_or_default();
        let mut object = Map::new();
        let counts = [
            ("reviews", reviews),
            ("verdicts", verdicts),
            ("dead_letters", dead_letters),
            ("rows", rows.rows),
            ("rows_refused", rows.refused),
            ("pending", pending),
            ("forgotten", forgotten),
            ("faults", self.findings.total()),
        ];
        object.extend(counts.map(|(name, count)| (name.to_owned(), json!(count))));
        let faults = Fault::ALL.map(|fault| (fault.name(), self.findings.count(fault)));
        object.extend(faults.map(|(name, count)| (name.to_owned(), json!(count))));
        object.insert("store_checked".to_owned(), json!(self.rows.is_some()));
        object.insert("open_transactions".to_owned(), json!(self.open));
        object.insert("seconds".to_owned(), json!(self.took.as_secs_f64()));
        object.insert("examples".to_owned(), self.findings.examples().collect());
        Value::Object(object)
    }

    /// A table.
    pub(crate) fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        let Counts { reviews, verdicts, dead_letters, pending, forgotten } = self.counts;
        let rows = self.rows.map_or_else(|| "not looked at".to_owned(), |it| it.rows.to_string());
        for (name, count) in [
            ("reviews", reviews.to_string()),
            ("verdicts", verdicts.to_string()),
            ("dead letters", dead_letters.to_string()),
            ("rows", rows),
        ] {
            writeln!(out, "{name:<16} {count:>13}")?;
        }
        writeln!(out, "{:<16} {pending:>13}  reviews that are still to be scored", "pending")?;
        if 0 < forgotten {
            writeln!(
                out,
                "{:<16} {forgotten:>13}  reviews whose outcomes may have been deleted: no longer told from lost",
                "forgotten"
            )?;
        }
        let refused = self.rows.map_or(0, |rows| rows.refused);
        if 0 < refused {
            writeln!(
                out,
                "{:<16} {refused:>13}  verdicts that the store does not take as rows: `verdict store status` says why",
                "rows refused"
            )?;
        }
        writeln!(out)?;
        for fault in Fault::ALL {
            let looked = self.rows.is_some() || !fault.is_of_rows();
            let count =
                if looked { self.findings.count(fault).to_string() } else { "-".to_owned() };
            writeln!(out, "{:<16} {count:>13}  {}", fault.name(), fault.meaning())?;
        }
        if !self.open.is_empty() {
            writeln!(
                out,
                "\nA transaction is open in {}: what lies behind it was not seen. Check again in a minute.",
                self.open.join(", ")
            )?;
        }
        let seconds = self.took.as_secs_f64();
        if self.findings.total() == 0 {
            return writeln!(out, "\nNo fault, in {seconds:.1} s.");
        }
        writeln!(out, "\n{} faults, in {seconds:.1} s. The first of each:", self.findings.total())?;
        for example in self.findings.examples() {
            writeln!(out, "  {example}")?;
        }
        writeln!(out, "\nWhat to do:")?;
        for fault in Fault::ALL.into_iter().filter(|fault| 0 < self.findings.count(*fault)) {
            writeln!(out, "  {}: {}", fault.name(), fault.advice())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: Option<rows::Counts>, faults: &[Fault]) -> Report {
        let mut findings = Findings::default();
        for fault in faults {
            findings.note(*fault, || "reviews.v1-0@7".to_owned());
        }
        let counts = Counts { reviews: 3, verdicts: 2, dead_letters: 1, ..Counts::default() };
        Report { counts, rows, findings, open: Vec::new(), took: Duration::from_secs(1) }
    }

    fn rows(refused: u64) -> rows::Counts {
        rows::Counts { rows: 2, refused }
    }

    fn table(report: &Report) -> String {
        let mut out = Vec::new();
        report.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_object_has_every_counter_whether_or_not_it_counted() {
        let object = report(None, &[Fault::Torn, Fault::Torn]).json();
        for fault in Fault::ALL {
            let expected = if fault == Fault::Torn { 2 } else { 0 };
            assert_eq!(object[fault.name()], expected, "{}", fault.name());
        }
        assert_eq!((&object["reviews"], &object["rows"]), (&json!(3), &json!(0)));
        assert_eq!(object["examples"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn the_table_says_what_was_found_and_what_to_do() {
        let clean = table(&report(Some(rows(0)), &[]));
        assert!(clean.contains("No fault") && !clean.contains("What to do"), "{clean}");
        let faulty = table(&report(Some(rows(0)), &[Fault::Lost]));
        for part in ["1 faults", "lost: reviews.v1-0@7", "What to do:", "lost: publish"] {
            assert!(faulty.contains(part), "{part}: {faulty}");
        }
        let without_store = table(&report(None, &[]));
        assert!(without_store.contains("not looked at"), "{without_store}");
    }

    #[test]
    fn refused_rows_are_told_and_are_no_fault() {
        let report = |refused| report(Some(rows(refused)), &[]);
        assert_eq!(
            (&report(7).json()["rows_refused"], &report(7).json()["faults"]),
            (&json!(7), &json!(0))
        );
        let (some, none) = (table(&report(7)), table(&report(0)));
        assert!(some.contains("rows refused") && some.contains("No fault"), "{some}");
        assert!(!none.contains("rows refused"), "{none}");
    }
}
