//! Length-prefixed messages over an asynchronous byte stream (PROTOCOL §2.1).

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire::{FRAME_PREFIX_BYTES, MAX_FRAME_BYTES};

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The stream ended before a frame began.
    #[error("the stream ended where a message was expected")]
    End,
    /// The stream ended inside a frame.
    #[error("the stream ended inside a message")]
    Truncated,
    /// The prefix announces a length outside 1 to [`MAX_FRAME_BYTES`].
    #[error("a message of {0} bytes was announced, allowed are 1 to {MAX_FRAME_BYTES}")]
    Length(u32),
    /// The stream failed.
    #[error("reading a message: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads the length that a frame's prefix announces.
///
/// # Errors
/// [`FrameError::Length`] outside 1 to [`MAX_FRAME_BYTES`], before anything is allocated.
pub fn announced_length(prefix: [u8; FRAME_PREFIX_BYTES]) -> Result<usize, FrameError> {
    let announced = u32::from_be_bytes(prefix);
    match usize::try_from(announced) {
        Ok(length @ 1..=MAX_FRAME_BYTES) => Ok(length),
        _ => Err(FrameError::Length(announced)),
    }
}

/// Reads one frame's payload.
///
/// # Errors
/// [`FrameError`]. Memory grows with the bytes that arrive, not with the announced length.
pub async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Bytes, FrameError> {
    let mut prefix = [0u8; FRAME_PREFIX_BYTES];
    let mut filled = 0;
    while filled < FRAME_PREFIX_BYTES {
        match reader.read(&mut prefix[filled..]).await? {
            0 if filled == 0 => return Err(FrameError::End),
            0 => return Err(FrameError::Truncated),
            n => filled += n,
        }
    }
    let length = announced_length(prefix)?;
    let mut payload = BytesMut::with_capacity(length.min(1024));
    let mut body = reader.take(length as u64);
    while payload.len() < length {
        if body.read_buf(&mut payload).await? == 0 {
            return Err(FrameError::Truncated);
        }
    }
    Ok(payload.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::wire::frame;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Feeds `bytes` in pieces of `step` and reads frames until the end.
    fn frames_of(bytes: &[u8], step: usize) -> (Vec<Bytes>, FrameError) {
        block_on(async {
            let (mut near, mut far) = tokio::io::duplex(step);
            let feed = async move {
                // The reader may give up first; what matters is what it read.
                let _ = far.write_all(bytes).await;
                drop(far);
            };
            let read = async {
                let mut frames = Vec::new();
                let error = loop {
                    match read_frame(&mut near).await {
                        Ok(frame) => frames.push(frame),
                        Err(error) => break error,
                    }
                };
                drop(near);
                (frames, error)
            };
            tokio::join!(feed, read).1
        })
    }

    #[test]
    fn lengths_are_checked_before_reading() {
        for length in [0u32, 65_537, u32::MAX] {
            let (frames, error) = frames_of(&length.to_be_bytes(), 4);
            assert!(frames.is_empty());
            assert!(matches!(error, FrameError::Length(n) if n == length));
        }
        let longest = frame(&vec![b'x'; MAX_FRAME_BYTES]).unwrap();
        assert_eq!(frames_of(&longest, 5000).0[0].len(), MAX_FRAME_BYTES);
    }

    #[test]
    fn an_end_inside_a_frame_is_not_an_end_between_frames() {
        let bytes = frame(b"{}").unwrap();
        assert!(matches!(frames_of(&bytes, 64).1, FrameError::End));
        for cut in 1..bytes.len() {
            assert!(matches!(frames_of(&bytes[..cut], 64).1, FrameError::Truncated), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_fragmentation(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
            step in 1usize..64,
        ) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|p| frame(p).unwrap()).collect();
            let (frames, error) = frames_of(&bytes, step);
            prop_assert_eq!(frames, payloads);
            prop_assert!(matches!(error, FrameError::End));
        }
    }
}
