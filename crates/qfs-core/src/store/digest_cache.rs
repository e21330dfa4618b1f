//! Digests of versions that were hashed once.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{Digest, ETag, HashKind};

/// Remembers the digests of versions by their etag, of either kind; thread-safe.
///
/// Bounded: two generations of at most [`DigestCache::GENERATION`] entries, of both kinds together. What was not asked for while a
/// generation filled is forgotten with the older one. Worst case 2 × 128 Ki × 56 bytes, about 15 MB.
#[derive(Debug, Default)]
pub struct DigestCache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
    /// Insertions since the cache was last written out.
    unsaved: u64,
}

/// A map for each kind, which takes less room than one with the kind in its entries.
#[derive(Debug, Default)]
struct Generation {
    sha256: HashMap<u128, [u8; 32]>,
    blake3: HashMap<u128, [u8; 32]>,
}

/// First line of the cache's file.
const HEADER: &str = "qfs digest cache 1";

/// In front of the digits of a BLAKE3 in the cache's file.
const BLAKE3_PREFIX: &str = "blake3:";

impl DigestCache {
    /// Entries of one generation.
    pub const GENERATION: usize = 128 << 10;

    /// The digest of `kind` of this version, if it is remembered.
    #[must_use]
    pub fn recall(&self, etag: &ETag, kind: HashKind) -> Option<Digest> {
        let key = key(etag);
        let mut generations = self.lock();
        if let Some(bytes) = generations.young.of(kind).get(&key) {
            return Some(Digest::new(kind, *bytes));
        }
        let digest = Digest::new(kind, *generations.old.of(kind).get(&key)?);
        generations.insert(key, digest);
        Some(digest)
    }

    /// Remembers the digest of this version.
    pub fn remember(&self, etag: &ETag, digest: Digest) {
        let mut generations = self.lock();
        generations.insert(key(etag), digest);
        generations.unsaved += 1;
    }

    /// Whether something was learnt since the last [`Self::write_to`].
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.lock().unsaved > 0
    }

    /// Reads what [`Self::write_to`] wrote; lines that make no sense are skipped, since a lost digest costs a pass over a file
    /// and nothing else.
    ///
    /// # Errors
    /// What reading failed with.
    pub fn read_from(&self, reader: impl BufRead) -> io::Result<()> {
        let mut lines = reader.lines();
        if lines.next().transpose()?.as_deref() != Some(HEADER) {
            return Ok(());
        }
        let mut generations = self.lock();
        for line in lines.take(2 * Self::GENERATION) {
            let line = line?;
            let Some((key, digest)) = line.split_once(' ') else { continue };
            // Earlier versions know lines without a kind, which are SHA-256, and skip the others.
            let digest = match digest.strip_prefix(BLAKE3_PREFIX) {
                Some(digest) => Digest::parse(HashKind::Blake3, digest),
                None => digest.parse(),
            };
            if let (Ok(key), Ok(digest)) = (u128::from_str_radix(key, 16), digest) {
                generations.insert(key, digest);
            }
        }
        Ok(())
    }

    /// Writes everything remembered, a line an entry.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn write_to(&self, mut writer: impl Write) -> io::Result<()> {
        let entries: Vec<_> = {
            let mut generations = self.lock();
            generations.unsaved = 0;
            generations.old.entries().chain(generations.young.entries()).collect()
        };
        writeln!(writer, "{HEADER}")?;
        for (key, digest) in entries {
            let prefix = if digest.kind() == HashKind::Blake3 { BLAKE3_PREFIX } else { "" };
            writeln!(writer, "{key:032x} {prefix}{digest}")?;
        }
        writer.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    fn of(&self, kind: HashKind) -> &HashMap<u128, [u8; 32]> {
        match kind {
            HashKind::Sha256 => &self.sha256,
            HashKind::Blake3 => &self.blake3,
        }
    }

    fn of_mut(&mut self, kind: HashKind) -> &mut HashMap<u128, [u8; 32]> {
        match kind {
            HashKind::Sha256 => &mut self.sha256,
            HashKind::Blake3 => &mut self.blake3,
        }
    }

    fn len(&self) -> usize {
        self.sha256.len() + self.blake3.len()
    }

    fn entries(&self) -> impl Iterator<Item = (u128, Digest)> {
        let of = |kind| self.of(kind).iter().map(move |(key, bytes)| (*key, Digest::new(kind, *bytes)));
        HashKind::ALL.into_iter().flat_map(of)
    }
}

impl Generations {
    fn insert(&mut self, key: u128, digest: Digest) {
        let kind = digest.kind();
        if self.young.len() >= DigestCache::GENERATION && !self.young.of(kind).contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.of_mut(kind).insert(key, *digest.as_bytes());
    }
}

/// 16 bytes that stand for the etag. Our own stores make tags of 32 hexadecimal digits; any other text is hashed.
fn key(etag: &ETag) -> u128 {
    let text = etag.as_str();
    match u128::from_str_radix(text, 16) {
        Ok(key) if text.len() == 32 => key,
        _ => {
            let mut first = [0; 16];
            first.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
            u128::from_be_bytes(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etag(n: u128) -> ETag {
        format!("{n:032x}").parse().unwrap()
    }

    #[test]
    fn what_was_learnt_survives_a_restart() {
        let cache = DigestCache::default();
        cache.remember(&etag(1), Digest::of(b"one"));
        cache.remember(&"other".parse().unwrap(), Digest::of(b"two"));
        let blake3 = Digest::of_kind(HashKind::Blake3, b"one");
        cache.remember(&etag(1), blake3);
        assert!(cache.is_unsaved());
        let mut file = Vec::new();
        cache.write_to(&mut file).unwrap();
        assert!(!cache.is_unsaved());

        let again = DigestCache::default();
        again.read_from(&file[..]).unwrap();
        assert_eq!(again.recall(&etag(1), HashKind::Sha256), Some(Digest::of(b"one")));
        assert_eq!(again.recall(&etag(1), HashKind::Blake3), Some(blake3));
        assert_eq!(again.recall(&"other".parse().unwrap(), HashKind::Sha256), Some(Digest::of(b"two")));
        assert_eq!(again.recall(&"other".parse().unwrap(), HashKind::Blake3), None);
        assert_eq!(again.recall(&etag(2), HashKind::Sha256), None);
    }

    #[test]
    fn a_damaged_file_costs_nothing_but_the_damaged_lines() {
        let cache = DigestCache::default();
        let good = format!("{:032x} {}", 7, Digest::of(b"x"));
        cache.read_from(format!("{HEADER}\nrubbish\n{good}\n1 2\n").as_bytes()).unwrap();
        assert_eq!(cache.recall(&etag(7), HashKind::Sha256), Some(Digest::of(b"x")));
        let other = DigestCache::default();
        other.read_from(format!("another format\n{good}\n").as_bytes()).unwrap();
        assert_eq!(other.recall(&etag(7), HashKind::Sha256), None);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let cache = DigestCache::default();
        cache.remember(&etag(0), Digest::of(b"kept"));
        for n in 1..=3 * DigestCache::GENERATION as u128 {
            let kind = HashKind::ALL[(n % 2) as usize];
            cache.remember(&etag(n), Digest::of_kind(kind, b""));
            if n % 1000 == 0 {
                assert!(cache.recall(&etag(0), HashKind::Sha256).is_some());
            }
        }
        let generations = cache.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * DigestCache::GENERATION);
    }
}
