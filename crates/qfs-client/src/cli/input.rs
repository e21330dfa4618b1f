//! What a person types, or a pipe says in their place.

use std::io::{self, BufRead as _, Read as _};

/// Longest line read, in bytes: room for some hundred names of files.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// The next line of standard input without its end; None when the input has ended. Blocks.
pub(crate) fn read_line() -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = io::stdin().lock().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)?;
    if read as u64 > MAX_LINE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line is longer than {MAX_LINE_BYTES} bytes"),
        ));
    }
    let text =
        String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a line is not UTF-8"))?;
    Ok((read > 0).then(|| text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// The same, while the program goes on with other things.
pub(crate) async fn next_line() -> io::Result<Option<String>> {
    tokio::task::spawn_blocking(read_line).await.map_err(io::Error::other)?
}
