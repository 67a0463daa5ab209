//! Record batches of format 2 (KIP-98): their header is read and patched, their records are stored as sent.
//!
//! The checksum covers everything from the attributes on, but not the base offset and the leader epoch: a broker can give a
//! batch its place in the log without touching, or even decompressing, what the producer sealed.

use crate::clock;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
const PREFIX_BYTES: usize = 12;
const CHECKED_FROM: usize = 21;
const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// Where the type is in a marker of ours: one record of fixed layout, and clients may not send control batches.
const MARKER_TYPE_AT: usize = HEADER_BYTES + 7;

/// What a batch says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// Length of the whole batch.
    pub(crate) bytes: usize,
    attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    /// -1 when the producer is not idempotent.
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) first_sequence: i32,
    pub(crate) records: i32,
}

/// Why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// They end before the batch does.
    Torn,
    /// Formats 0 and 1, which no client of the last years sends.
    Legacy,
    /// Lengths or checksum do not hold.
    Corrupt,
}

impl Header {
    /// Reads the header of the batch at the start of `bytes` and makes sure that all of the batch is there.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Header, Malformed> {
        let header = Header::peek(bytes)?;
        if header.bytes <= bytes.len() { Ok(header) } else { Err(Malformed::Torn) }
    }

    /// Reads the header alone: the rest of the batch may still be missing.
    pub(crate) fn peek(bytes: &[u8]) -> Result<Header, Malformed> {
        match bytes.get(16) {
            None => return Err(Malformed::Torn),
            Some(2) => {}
            Some(0 | 1) => return Err(Malformed::Legacy),
            Some(_) => return Err(Malformed::Corrupt),
        }
        let header = Header::fields(bytes).ok_or(Malformed::Torn)?;
        if HEADER_BYTES <= header.bytes && 0 <= header.last_offset_delta {
            Ok(header)
        } else {
            Err(Malformed::Corrupt)
        }
    }

    fn fields(bytes: &[u8]) -> Option<Header> {
        let length = i32::from_be_bytes(field(bytes, 8)?);
        Some(Header {
            base_offset: i64::from_be_bytes(field(bytes, 0)?),
            bytes: usize::try_from(length).map_or(0, |length| length.saturating_add(PREFIX_BYTES)),
            attributes: i16::from_be_bytes(field(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)?),
            producer_id: i64::from_be_bytes(field(bytes, 43)?),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)?),
            first_sequence: i32::from_be_bytes(field(bytes, 53)?),
            records: i32::from_be_bytes(field(bytes, 57)?),
        })
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION_MASK != 0
    }

    /// The offset of its last record.
    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The sequence number of its last record. They wrap to 0 after `i32::MAX`.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.first_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }
}

/// Whether the checksum of the batch at the start of `bytes` holds.
pub(crate) fn is_sound(bytes: &[u8], header: &Header) -> bool {
    match (field(bytes, 17), bytes.get(CHECKED_FROM..header.bytes)) {
        (Some(sum), Some(checked)) => u32::from_be_bytes(sum) == crc32c::crc32c(checked),
        _ => false,
    }
}

/// Gives a batch its place in the log. There is one leader for ever, so its epoch is always 0.
pub(crate) fn place(batch: &mut [u8], base_offset: i64) {
    put(batch, 0, base_offset.to_be_bytes());
    put(batch, 12, 0_i32.to_be_bytes());
}

/// Puts the broker's time in place of the producer's, for topics with `message.timestamp.type=LogAppendTime`.
pub(crate) fn stamp(batch: &mut [u8], header: &mut Header, now_ms: i64) {
    header.attributes |= LOG_APPEND_TIME;
    header.max_timestamp = now_ms;
    put(batch, 21, header.attributes.to_be_bytes());
    put(batch, 35, now_ms.to_be_bytes());
    seal(batch);
}

/// The control batch that ends a transaction in one partition (KIP-98).
pub(crate) fn marker(producer_id: i64, epoch: i16, commit: bool) -> Vec<u8> {
    const LEADER: i32 = 0;
    let now = clock::now_ms();
    let kind: i16 = i16::from(commit);
    // Attributes, timestamp delta and offset delta are 0; the numbers before key and value are zigzag lengths.
    let mut record = vec![0, 0, 0, 4 << 1];
    record.extend(0_i16.to_be_bytes());
    record.extend(kind.to_be_bytes());
    record.push(6 << 1);
    record.extend(0_i16.to_be_bytes());
    record.extend(LEADER.to_be_bytes());
    record.push(0);
    let record_bytes = u8::try_from(record.len() << 1).unwrap_or(u8::MAX);

    let mut batch = vec![0; HEADER_BYTES];
    batch.push(record_bytes);
    batch.extend(record);
    let length = i32::try_from(batch.len() - PREFIX_BYTES).unwrap_or(i32::MAX);
    put(&mut batch, 8, length.to_be_bytes());
    put(&mut batch, 16, [2]);
    put(&mut batch, 21, (TRANSACTIONAL | CONTROL).to_be_bytes());
    put(&mut batch, 27, now.to_be_bytes());
    put(&mut batch, 35, now.to_be_bytes());
    put(&mut batch, 43, producer_id.to_be_bytes());
    put(&mut batch, 51, epoch.to_be_bytes());
    put(&mut batch, 53, (-1_i32).to_be_bytes());
    put(&mut batch, 57, 1_i32.to_be_bytes());
    seal(&mut batch);
    batch
}

/// Whether a marker commits.
pub(crate) fn commits(marker: &[u8]) -> bool {
    field(marker, MARKER_TYPE_AT).is_some_and(|kind| i16::from_be_bytes(kind) == 1)
}

/// Offset and timestamp of the first record at or after `timestamp`.
///
/// A compressed batch is not opened: it answers with its first record, so that a reader sees some records too many and
/// never one too few.
pub(crate) fn first_at_or_after(bytes: &[u8], header: &Header, timestamp: i64) -> (i64, i64) {
    let whole = (header.base_offset, header.base_timestamp);
    if header.is_compressed() || header.attributes & LOG_APPEND_TIME != 0 {
        return whole;
    }
    let mut rest = bytes.get(HEADER_BYTES..header.bytes).unwrap_or_default();
    while let Some((record, after)) = split_record(rest) {
        let Some((time_delta, record)) = record.get(1..).and_then(varint) else { return whole };
        let Some((offset_delta, _)) = varint(record) else { return whole };
        let time = header.base_timestamp.saturating_add(time_delta);
        if timestamp <= time {
            return (header.base_offset.saturating_add(offset_delta), time);
        }
        rest = after;
    }
    whole
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A zigzag number of seven bits a byte, and what follows it.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let (half, sign) = (i64::try_from(value >> 1).ok()?, i64::from(value & 1 == 1));
            return Some((half ^ -sign, bytes.get(at + 1..)?));
        }
    }
    None
}

fn seal(batch: &mut [u8]) {
    let sum = crc32c::crc32c(batch.get(CHECKED_FROM..).unwrap_or_default());
    put(batch, 17, sum.to_be_bytes());
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = value;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A batch as a producer sends it: `(timestamp, value)` for each record.
    pub(crate) fn batch_of(
        records: &[(i64, &str)],
        producer: Option<(i64, i16, i32)>,
        transactional: bool,
    ) -> Vec<u8> {
        let base = records.first().map_or(0, |record| record.0);
        let mut batch = vec![0; HEADER_BYTES];
        for (delta, (timestamp, value)) in records.iter().enumerate() {
            let mut record = vec![0];
            put_varint(&mut record, timestamp - base);
            put_varint(&mut record, i64::try_from(delta).unwrap());
            put_varint(&mut record, -1);
            put_varint(&mut record, i64::try_from(value.len()).unwrap());
            record.extend(value.as_bytes());
            record.push(0);
            put_varint(&mut batch, i64::try_from(record.len()).unwrap());
            batch.extend(record);
        }
        let count = i32::try_from(records.len()).unwrap();
        let (id, epoch, sequence) = producer.unwrap_or((-1, -1, -1));
        let length = i32::try_from(batch.len() - PREFIX_BYTES).unwrap();
        put(&mut batch, 8, length.to_be_bytes());
        put(&mut batch, 16, [2]);
        put(&mut batch, 21, if transactional { TRANSACTIONAL } else { 0 }.to_be_bytes());
        put(&mut batch, 23, (count - 1).to_be_bytes());
        put(&mut batch, 27, base.to_be_bytes());
        put(&mut batch, 35, records.iter().map(|record| record.0).max().unwrap_or(0).to_be_bytes());
        put(&mut batch, 43, id.to_be_bytes());
        put(&mut batch, 51, epoch.to_be_bytes());
        put(&mut batch, 53, sequence.to_be_bytes());
        put(&mut batch, 57, count.to_be_bytes());
        seal(&mut batch);
        batch
    }

    fn put_varint(bytes: &mut Vec<u8>, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while 0x80 <= zigzag {
            bytes.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
            zigzag >>= 7;
        }
        bytes.push(u8::try_from(zigzag).unwrap());
    }

    #[test]
    fn a_header_is_read_back() {
        let batch = batch_of(&[(5, "a"), (9, "b")], Some((7, 1, 40)), true);
        let header = Header::parse(&batch).unwrap();
        assert_eq!((header.bytes, header.records, header.last_sequence()), (batch.len(), 2, 41));
        assert_eq!((header.base_timestamp, header.max_timestamp), (5, 9));
        assert!(header.is_transactional() && !header.is_control() && is_sound(&batch, &header));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_seen() {
        let batch = batch_of(&[(5, "some text")], None, false);
        for end in 0..batch.len() {
            assert_eq!(
                Header::parse(batch.get(..end).unwrap()),
                Err(Malformed::Torn),
                "cut at {end}"
            );
        }
        for at in 16..batch.len() {
            let mut flipped = batch.clone();
            *flipped.get_mut(at).unwrap() ^= 0x40;
            assert!(
                !Header::parse(&flipped).is_ok_and(|header| is_sound(&flipped, &header)),
                "flip at {at}"
            );
        }
    }

    #[test]
    fn a_place_and_a_stamp_keep_the_checksum_true() {
        let mut batch = batch_of(&[(5, "a")], None, false);
        let mut header = Header::parse(&batch).unwrap();
        place(&mut batch, 1_234);
        stamp(&mut batch, &mut header, 99);
        let read = Header::parse(&batch).unwrap();
        assert_eq!((read.base_offset, read.max_timestamp), (1_234, 99));
        assert!(is_sound(&batch, &read));
    }

    #[test]
    fn a_marker_says_whether_it_commits() {
        for commit in [true, false] {
            let bytes = marker(3, 4, commit);
            let header = Header::parse(&bytes).unwrap();
            assert!(is_sound(&bytes, &header) && header.is_control() && header.is_transactional());
            assert_eq!(
                (header.producer_id, header.producer_epoch, commits(&bytes)),
                (3, 4, commit)
            );
        }
    }

    #[test]
    fn a_time_finds_its_record() {
        let batch = batch_of(&[(10, "a"), (20, "b"), (15, "c"), (30, "d")], None, false);
        let header = Header::parse(&batch).unwrap();
        let check = |time, expected| assert_eq!(first_at_or_after(&batch, &header, time), expected);
        check(0, (0, 10));
        check(11, (1, 20));
        check(21, (3, 30));
    }
}
