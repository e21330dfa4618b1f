//! Bytes ↔ messages: a big-endian `u32` length and that many bytes of JSON (PROTOCOL §2.1).

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::{FRAME_PREFIX_BYTES, MAX_FRAME_BYTES};

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not JSON, or not the JSON of this message.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// This version does not know the `command`.
    #[error("unknown command {0:?}")]
    UnknownCommand(String),
    /// A listing's names do not ascend (PROTOCOL §4.1).
    #[error("the listing is not in ascending order")]
    Unordered,
}

/// A message does not fit a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes does not fit a frame of {MAX_FRAME_BYTES}")]
pub struct EncodeError(
    /// The message's length in bytes.
    pub usize,
);

/// `message` as a frame, prefix included.
///
/// # Errors
/// [`EncodeError`] when it is longer than [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Bytes, EncodeError> {
    let mut buffer = BytesMut::with_capacity(256);
    encode_onto(&mut buffer, message)?;
    Ok(buffer.freeze())
}

/// Appends `message` as a frame to `buffer`. If the message is too long, the contents of `buffer` must not be sent.
pub(super) fn encode_onto<T: Serialize + ?Sized>(buffer: &mut BytesMut, message: &T) -> Result<(), EncodeError> {
    let start = buffer.len();
    buffer.put_u32(0);
    // Serialising our own message types to memory fails only when they are too long.
    serde_json::to_writer(buffer.writer(), message).map_err(|_| EncodeError(usize::MAX))?;
    seal(&mut buffer[start..])
}

/// `payload`, already JSON, as a frame.
///
/// # Errors
/// [`EncodeError`] when it is longer than [`MAX_FRAME_BYTES`].
pub fn frame(payload: &[u8]) -> Result<Bytes, EncodeError> {
    let mut buffer = BytesMut::with_capacity(FRAME_PREFIX_BYTES + payload.len());
    buffer.put_u32(0);
    buffer.put_slice(payload);
    seal(&mut buffer)?;
    Ok(buffer.freeze())
}

/// Writes the length into a frame that starts with room for it.
fn seal(frame: &mut [u8]) -> Result<(), EncodeError> {
    let length = frame.len() - FRAME_PREFIX_BYTES;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME_BYTES => {
            frame[..FRAME_PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        _ => Err(EncodeError(length)),
    }
}

/// Reads a frame's payload; unknown fields are ignored.
pub(super) fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, DecodeError> {
    // serde would also read a struct from an array of its fields, so the payload must be an object.
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return Err(DecodeError::Malformed("expected an object".to_owned()));
    }
    serde_json::from_slice(payload).map_err(|e| DecodeError::Malformed(e.to_string()))
}

/// Whether a field is left out.
pub(super) fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// Reads `null` as if the field were not there.
pub(super) fn null_is_absent<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads the error in an error head's payload.
///
/// # Errors
/// [`DecodeError::Malformed`] when there is no `code`.
pub fn decode_error(payload: &[u8]) -> Result<super::RemoteError, DecodeError> {
    let mut error: super::RemoteError = decode_owned(payload)?;
    if error.message.len() > super::MAX_MESSAGE_BYTES {
        let cut = (0..=super::MAX_MESSAGE_BYTES).rev().find(|i| error.message.is_char_boundary(*i));
        error.message.truncate(cut.unwrap_or(0));
    }
    Ok(error)
}

fn decode_owned<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    decode(payload)
}
