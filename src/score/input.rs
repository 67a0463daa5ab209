//! Reading reviews from a file or standard input: text lines, NDJSON, CSV or TSV, gzipped or not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, anyhow, bail};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use crate::cli::InputFormat;

/// Fields that are looked for when none is named.
const TEXT_FIELDS: [&str; 2] = ["review", "text"];

/// First bytes of a gzip stream (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes read ahead.
const BUFFER_BYTES: usize = 256 * 1024;

/// Longest line that is read, in bytes. A longer one ends the reading: the input is not what it is said to be.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One line of the input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Number of the line or record, from 1.
    pub(crate) line: u64,
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
    /// Its text, or why it has none.
    pub(crate) text: Result<String, String>,
    /// Its true label, where one was asked for.
    pub(crate) label: Option<String>,
}

/// Which fields of a row are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// The field with the text; one of [`TEXT_FIELDS`] where absent.
    pub(crate) text: Option<String>,
    /// The field with the true label.
    pub(crate) label: Option<String>,
}

/// The rows of an input, one at a time, so that a file of any size fits in memory.
pub(crate) type Rows = Box<dyn Iterator<Item = anyhow::Result<Row>> + Send>;

/// Opens `path`, or standard input where it is `None` or `-`.
pub(crate) fn open(
    path: Option<&Path>,
    format: InputFormat,
    fields: Fields,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Rows> {
    let path = path.filter(|path| *path != Path::new("-"));
    let raw: Box<dyn Read + Send> = match path {
        Some(path) => {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            bar.set_length(file.metadata().map_or(0, |metadata| metadata.len()));
            Box::new(bar.wrap_read(file))
        }
        None => Box::new(bar.wrap_read(io::stdin())),
    };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, raw);
    let gzipped = reader.fill_buf().context("reading the input")?.starts_with(&GZIP_MAGIC);
    let mut reader: Box<dyn BufRead + Send> = if gzipped {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    };
    let format = match format {
        InputFormat::Auto => {
            let by_name = path.and_then(format_of_name);
            let first = reader.fill_buf().context("reading the input")?;
            by_name.unwrap_or_else(|| format_of_bytes(first))
        }
        stated => stated,
    };
    rows(reader, format, fields)
}

fn rows(
    reader: Box<dyn BufRead + Send>,
    format: InputFormat,
    fields: Fields,
) -> anyhow::Result<Rows> {
    match format {
        InputFormat::Auto | InputFormat::Text => {
            if let Some(field) = fields.text.or(fields.label) {
                bail!(
                    "the input is plain text, which has no field `{field}`: state --format ndjson or csv"
                );
            }
            Ok(Box::new(lines(reader).map(|line| line.map(text_row))))
        }
        InputFormat::Ndjson => {
            Ok(Box::new(lines(reader).map(move |line| line.map(|line| ndjson_row(line, &fields)))))
        }
        InputFormat::Csv => delimited(reader, b',', &fields),
        InputFormat::Tsv => delimited(reader, b'\t', &fields),
    }
}

/// By the extension, with or without `.gz` behind it.
fn format_of_name(path: &Path) -> Option<InputFormat> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "jsonl" | "ndjson" | "json" => Some(InputFormat::Ndjson),
        "csv" => Some(InputFormat::Csv),
        "tsv" => Some(InputFormat::Tsv),
        "txt" => Some(InputFormat::Text),
        _ => None,
    }
}

/// An input without a telling name is NDJSON if it opens with a brace, else text; CSV cannot be told from prose.
fn format_of_bytes(first: &[u8]) -> InputFormat {
    match first.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => InputFormat::Ndjson,
        _ => InputFormat::Text,
    }
}

/// A line's number from 1, and its bytes without the line end. Blank lines are left out but counted.
type Line = (u64, Vec<u8>);

fn lines(mut reader: Box<dyn BufRead + Send>) -> impl Iterator<Item = anyhow::Result<Line>> + Send {
    let mut number = 0_u64;
    std::iter::from_fn(move || {
        loop {
            number += 1;
            let mut line = Vec::new();
            let limited = reader.as_mut().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            match limited {
                Err(error) => {
                    return Some(Err(error).with_context(|| format!("reading line {number}")));
                }
                Ok(0) => return None,
                Ok(_) if u64::try_from(line.len()).is_ok_and(|length| LINE_BYTES_MAX <= length) => {
                    return Some(Err(anyhow!(
                        "line {number} has more than {LINE_BYTES_MAX} bytes"
                    )));
                }
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => {
                    while line.last().is_some_and(|&byte| byte == b'\n' || byte == b'\r') {
                        line.pop();
                    }
                    return Some(Ok((number, line)));
                }
            }
        }
    })
}

fn text_row((line, bytes): Line) -> Row {
    let text = String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"));
    Row { line, id: None, text, label: None }
}

fn ndjson_row((line, bytes): Line, fields: &Fields) -> Row {
    let object = match serde_json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(object) => object,
        Err(error) => {
            return Row {
                line,
                id: None,
                text: Err(format!("not a JSON object: {error}")),
                label: None,
            };
        }
    };
    let scalar = |field: &str| match object.get(field) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let named: Vec<&str> = fields.text.as_deref().map_or(TEXT_FIELDS.to_vec(), |field| vec![field]);
    let text = match named.iter().find_map(|&field| object.get(field)) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_other) => Err(format!("field `{}` is not a string", named.join("` or `"))),
        None => Err(format!("no field `{}`: name it with --text-field", named.join("` or `"))),
    };
    let label = fields.label.as_deref().and_then(scalar);
    Row { line, id: scalar("id"), text, label }
}

/// CSV (RFC 4180) or TSV with a header line.
fn delimited(
    reader: Box<dyn BufRead + Send>,
    delimiter: u8,
    fields: &Fields,
) -> anyhow::Result<Rows> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(reader);
    let header = reader.headers().context("reading the header line")?.clone();
    let column = |name: &str| header.iter().position(|column| column.trim() == name);
    let stated = |name: &str| {
        column(name).ok_or_else(|| {
            let known: Vec<&str> = header.iter().collect();
            anyhow!("no column `{name}`: the columns are `{}`", known.join("`, `"))
        })
    };
    let text_column = match &fields.text {
        Some(name) => stated(name)?,
        None => TEXT_FIELDS
            .iter()
            .find_map(|name| column(name))
            .ok_or_else(|| anyhow!("no column `review` or `text`: name one with --text-field"))?,
    };
    let label_column = fields.label.as_deref().map(stated).transpose()?;
    let id_column = column("id");
    let rows = reader.into_byte_records().enumerate().map(move |(index, record)| {
        let line = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1);
        let record = record.with_context(|| format!("reading record {line}"))?;
        let field =
            |column: usize| record.get(column).map(|bytes| String::from_utf8(bytes.to_vec()));
        let text = match field(text_column) {
            Some(Ok(text)) => Ok(text),
            Some(Err(error)) => Err(format!("not UTF-8: {error}")),
            None => Err("the record has too few columns".to_owned()),
        };
        let id = id_column.and_then(field).and_then(Result::ok);
        let label = label_column.and_then(field).and_then(Result::ok);
        Ok(Row { line, id, text, label })
    });
    Ok(Box::new(rows))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn read(bytes: &[u8], format: InputFormat, fields: Fields) -> anyhow::Result<Vec<Row>> {
        rows(Box::new(io::Cursor::new(bytes.to_vec())), format, fields)?.collect()
    }

    fn texts(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.text.as_deref().unwrap()).collect()
    }

    #[test]
    fn text_lines_skip_blank_ones_but_count_them() {
        let rows = read(b"one\r\n\n  \ntwo", InputFormat::Text, Fields::default()).unwrap();
        assert_eq!(texts(&rows), ["one", "two"]);
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn ndjson_takes_the_named_field_and_keeps_bad_lines_in_place() {
        let fields = Fields { text: Some("body".to_owned()), label: Some("y".to_owned()) };
        let input = br#"{"body":"fine","y":1,"id":"a"}
not json
{"body":7}
{"other":"x"}"#;
        let rows = read(input, InputFormat::Ndjson, fields).unwrap();
        assert_eq!(rows[0].text.as_deref(), Ok("fine"));
        assert_eq!((rows[0].id.as_deref(), rows[0].label.as_deref()), (Some("a"), Some("1")));
        assert!(rows[1].text.as_ref().unwrap_err().contains("not a JSON object"));
        assert!(rows[2].text.as_ref().unwrap_err().contains("not a string"));
        assert!(rows[3].text.as_ref().unwrap_err().contains("no field `body`"));
    }

    #[test]
    fn csv_finds_its_column_and_names_the_columns_there_are() {
        let input = b"id,text\n1,\"fine, really\nfine\"\n2";
        let rows = read(input, InputFormat::Csv, Fields::default()).unwrap();
        assert_eq!(rows[0].text.as_deref(), Ok("fine, really\nfine"));
        assert_eq!(rows[1].text, Err("the record has too few columns".to_owned()));
        let fields = Fields { text: Some("review".to_owned()), label: None };
        let error = read(input, InputFormat::Csv, fields).unwrap_err();
        assert_eq!(error.to_string(), "no column `review`: the columns are `id`, `text`");
    }

    #[test]
    fn gzip_is_seen_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reviews.jsonl.gz");
        let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        file.write_all(b"{\"text\":\"fine\"}\n").unwrap();
        file.finish().unwrap();
        let bar = indicatif::ProgressBar::hidden();
        let rows = open(Some(&path), InputFormat::Auto, Fields::default(), &bar).unwrap();
        let rows: Vec<Row> = rows.collect::<anyhow::Result<_>>().unwrap();
        assert_eq!(texts(&rows), ["fine"]);
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_in_its_place() {
        let rows = read(b"fine\n\xff\nfine", InputFormat::Text, Fields::default()).unwrap();
        assert!(rows[1].text.is_err());
        assert_eq!(rows.len(), 3);
    }
}
