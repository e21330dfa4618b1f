//! Notes about paths (PROTOCOL §4.9): sealed for this server, bound to an address, and good for a day.
//!
//! The key is derived from the server's identity and kept nowhere: notes survive a restart, and die with the identity.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qfs_congestion::{KnownPath, PathMemory};
use qfs_core::model::PathNote;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// How long a note is good for. A path that has changed since costs one window; one that has not saves most of start-up.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long after the jump of one connection no other of the same address jumps, unless that one has ended: two jumps to half of
/// what a path held are all of it.
const JUMP_APART: Duration = Duration::from_secs(10);

/// The most addresses whose jumps are remembered; beyond that nobody jumps.
const MAX_JUMPS: usize = 4096;

/// What is sealed: rate (8 bytes), round trip in microseconds (8), seconds since 1970 (8), all big-endian.
const PLAIN_BYTES: usize = 24;

/// Names what is sealed, so that a key derived for something else opens nothing.
const LABEL: &[u8] = b"qfs path note v1";

/// Seals and opens the notes of one server.
pub(super) struct Notes {
    key: LessSafeKey,
    random: SystemRandom,
    jumps: Mutex<HashMap<IpAddr, (Instant, u64)>>,
}

impl Notes {
    /// For a server whose `secret` nobody else has.
    pub(super) fn new(secret: &[u8; 32]) -> Result<Arc<Self>, ring::error::Unspecified> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret)?);
        Ok(Arc::new(Self { key, random: SystemRandom::new(), jumps: Mutex::default() }))
    }

    /// A note that says that the path to `client` was like `known` at `now`.
    fn seal(&self, known: KnownPath, client: IpAddr, now: SystemTime) -> Option<PathNote> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let rtt = u64::try_from(known.rtt.as_micros()).ok()?;
        let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut sealed: Vec<u8> = [known.rate, rtt, seconds].iter().flat_map(|number| number.to_be_bytes()).collect();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_used, Aad::from(bound_to(client)), &mut sealed).ok()?;
        PathNote::from_bytes(&[&nonce[..], &sealed].concat())
    }

    /// What `note` says, if this server has sealed it for `client` less than [`LIFETIME`] before `now`.
    fn open(&self, note: &PathNote, client: IpAddr, now: SystemTime) -> Option<KnownPath> {
        let bytes = note.to_bytes()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(bound_to(client)), &mut sealed).ok()?;
        let plain: [u8; PLAIN_BYTES] = (*plain).try_into().ok()?;
        let number = |at: usize| plain.iter().skip(8 * at).take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let age = now.duration_since(UNIX_EPOCH + Duration::from_secs(number(2))).ok()?;
        let known = KnownPath { rate: number(0), rtt: Duration::from_micros(number(1)) };
        (age < LIFETIME).then_some(known)
    }

    /// Lets the connection of this `id` to `client` jump, unless another one has just done so.
    fn admit(&self, client: IpAddr, id: u64, now: Instant) -> bool {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        jumps.retain(|_, (at, _)| now.saturating_duration_since(*at) < JUMP_APART);
        let is_free = jumps.len() < MAX_JUMPS && !jumps.contains_key(&client);
        if is_free {
            jumps.insert(client, (now, id));
        }
        is_free
    }

    fn forget(&self, client: IpAddr, id: u64) {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        if jumps.get(&client).is_some_and(|(_, holder)| *holder == id) {
            jumps.remove(&client);
        }
    }
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notes(key hidden)")
    }
}

/// What a note is bound to: the label, and the address without its port.
fn bound_to(client: IpAddr) -> Vec<u8> {
    let address: Ipv6Addr = match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    [LABEL, &address.octets()].concat()
}

/// What one connection has to do with notes.
#[derive(Debug)]
pub(super) struct PathNotes {
    notes: Arc<Notes>,
    memory: PathMemory,
    /// The address that has jumped, and the number it is remembered by.
    jumped: Mutex<Option<(IpAddr, u64)>>,
}

impl PathNotes {
    /// For the connection whose controller has this `memory`.
    pub(super) fn new(notes: Arc<Notes>, memory: PathMemory) -> Self {
        Self { notes, memory, jumped: Mutex::default() }
    }

    /// Takes up a note of the client at `client`, once for a connection, of this `id`; the bytes that the path held.
    pub(super) fn recall(&self, note: &PathNote, client: IpAddr, id: u64) -> Option<u64> {
        let known = self.notes.open(note, client, SystemTime::now())?;
        let mut jumped = self.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        if jumped.is_some() || !self.notes.admit(client, id, Instant::now()) {
            return None;
        }
        *jumped = Some((client, id));
        self.memory.recall(known);
        Some(held(known))
    }

    /// A note about the path to `client` as it is known now, and the bytes that it held.
    pub(super) fn write(&self, client: IpAddr) -> Option<(PathNote, u64)> {
        let known = self.memory.observed()?;
        Some((self.notes.seal(known, client, SystemTime::now())?, held(known)))
    }
}

impl Drop for PathNotes {
    fn drop(&mut self) {
        if let Some((client, id)) = *self.jumped.get_mut().unwrap_or_else(PoisonError::into_inner) {
            self.notes.forget(client, id);
        }
    }
}

fn held(known: KnownPath) -> u64 {
    2 * known.jump_bytes(known.rtt)
}

/// Takes any bytes as a note, and as the damage to one that was sealed here.
///
/// # Panics
/// When a note opens that was not sealed here, for this client and today, or one that was does not.
#[cfg(any(test, fuzzing))]
pub(crate) fn exercise(data: &[u8]) {
    let (client, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let notes = Notes::new(&[7; 32]).expect("32 bytes are a key");
    let note = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok()).or(PathNote::from_bytes(data));
    assert!(note.is_none_or(|note| notes.open(&note, client, now).is_none()), "nobody has sealed it");

    let known = KnownPath { rate: data.len() as u64, rtt: Duration::from_micros(1000) };
    let sealed = notes.seal(known, client, now).expect("it is sealed");
    assert_eq!(notes.open(&sealed, client, now), Some(known));
    assert_eq!(notes.open(&sealed, other, now), None);
    assert_eq!(notes.open(&sealed, client, now + LIFETIME), None);
    let mut bytes = sealed.to_bytes().expect("it was made of bytes");
    bytes.iter_mut().zip(data).for_each(|(byte, damage)| *byte ^= damage);
    let is_damaged = data.iter().take(bytes.len()).any(|damage| *damage != 0);
    let opened = PathNote::from_bytes(&bytes).and_then(|note| notes.open(&note, client, now));
    assert_eq!(opened, (!is_damaged).then_some(known));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: KnownPath = KnownPath { rate: 62_500_000, rtt: Duration::from_millis(200) };
    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    /// Fails when: a note is good for another address or another server, for longer than a day, before it was written, or with a
    /// bit changed.
    #[test]
    fn a_note_is_good_for_its_server_its_address_and_a_day() {
        let (notes, other) = (Notes::new(&[1; 32]).unwrap(), Notes::new(&[2; 32]).unwrap());
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let note = notes.seal(KNOWN, CLIENT, now).unwrap();
        let mapped = IpAddr::V6(std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped());
        let day = Duration::from_secs(24 * 3600);
        let second = Duration::from_secs(1);
        assert_eq!(notes.open(&note, CLIENT, now), Some(KNOWN));
        assert_eq!(notes.open(&note, mapped, now + day - second), Some(KNOWN));
        assert_eq!(notes.open(&note, CLIENT, now + day), None, "old");
        assert_eq!(notes.open(&note, CLIENT, now - second), None, "from the future");
        assert_eq!(notes.open(&note, [192, 0, 2, 8].into(), now), None, "copied");
        assert_eq!(other.open(&note, CLIENT, now), None, "of another server");
        assert_ne!(notes.seal(KNOWN, CLIENT, now), Some(note.clone()), "a nonce that is used twice");
        let bytes = note.to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(notes.open(&PathNote::from_bytes(&changed).unwrap(), CLIENT, now), None, "byte {at}");
            assert_eq!(
                notes.open(&PathNote::from_bytes(&bytes[..at.max(1)]).unwrap(), CLIENT, now),
                None,
                "{at} bytes"
            );
        }
    }

    /// Fails when: many connections of one client jump at once, or one does so twice.
    #[test]
    fn one_connection_of_an_address_jumps_at_a_time() {
        let notes = Notes::new(&[1; 32]).unwrap();
        let connection = || PathNotes::new(Arc::clone(&notes), PathMemory::default());
        let (first, second) = (connection(), connection());
        let note = notes.seal(KNOWN, CLIENT, SystemTime::now()).unwrap();
        assert_eq!(first.recall(&note, CLIENT, 1), Some(12_500_000));
        assert_eq!(first.recall(&note, CLIENT, 1), None, "twice");
        assert_eq!(second.recall(&note, CLIENT, 2), None, "beside another");
        let elsewhere = [192, 0, 2, 8].into();
        let theirs = notes.seal(KNOWN, elsewhere, SystemTime::now()).unwrap();
        assert_eq!(connection().recall(&theirs, elsewhere, 3), Some(12_500_000));
        drop(first);
        assert_eq!(second.recall(&note, CLIENT, 2), Some(12_500_000));
        let later = Instant::now() + JUMP_APART;
        assert!(notes.admit(CLIENT, 4, later) && !notes.admit(CLIENT, 5, later));
    }
}
