//! The form of an entry: a header that says what it is, and the bytes.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Key;

/// What an entry starts with.
const MAGIC: [u8; 8] = *b"wavelift";
/// The form's version; another one is another form.
const FORMAT: u32 = 1;
/// Magic, format, key, length, and hash of these and the bytes.
const HEADER: usize = 8 + 4 + 32 + 8 + 32;
/// Where in the header the hash starts, which covers what stands before it and the bytes behind it.
const HASH_AT: usize = HEADER - 32;

/// Why an entry is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is none.
    Missing,
    /// The system says.
    Unreadable(String),
    /// Something else has its name, or it is too large to be one.
    NoEntry,
    /// It ends too soon, or too late.
    Length,
    /// It is another program's, or another version's.
    Format,
    /// It was written for another key.
    Key,
    /// Its hash is not its contents'.
    Hash,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Missing => "there is none",
            Fault::Unreadable(error) => error,
            Fault::NoEntry => "it is no file, or too large",
            Fault::Length => "it is cut off, or too long",
            Fault::Format => "it is another program's or another version's",
            Fault::Key => "it is another key's",
            Fault::Hash => "it is damaged",
        })
    }
}

/// An entry's file.
pub(super) fn encode(key: &Key, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(key.bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    let hash = hash(&bytes, payload);
    bytes.extend(hash);
    bytes.extend(payload);
    bytes
}

/// The bytes that were kept in it.
pub(super) fn decode(key: &Key, mut bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else { return Err(Fault::Length) };
    let (described, expected) = header.split_at(HASH_AT);
    let (magic, rest) = described.split_at(MAGIC.len());
    let (format, rest) = rest.split_at(4);
    let (written_for, length) = rest.split_at(32);
    if magic != MAGIC || format != FORMAT.to_le_bytes() {
        return Err(Fault::Format);
    }
    if written_for != key.bytes() {
        return Err(Fault::Key);
    }
    if length != (payload.len() as u64).to_le_bytes() {
        return Err(Fault::Length);
    }
    if expected != hash(described, payload) {
        return Err(Fault::Hash);
    }
    bytes.drain(..HEADER);
    Ok(bytes)
}

/// The key that an entry was written for, and what it holds, if it is whole.
pub(super) fn take_apart(bytes: Vec<u8>) -> Option<(Key, Vec<u8>)> {
    let key = Key(bytes.get(MAGIC.len() + 4..)?.get(..32)?.try_into().ok()?);
    Some((key, decode(&key, bytes).ok()?))
}

fn hash(described: &[u8], payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(described).chain_update(payload).finalize().into()
}
