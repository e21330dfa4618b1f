//! What this door reads of strangers and what it makes of their names and texts, for the fuzzers: each target takes any bytes and must
//! neither panic nor break what it asserts.
//!
//! | module | owns |
//! |---|---|
//! | `asked` | what a request asks for: its target, its range |
//! | `headers` | its other fields |
//! | `shown` | pages and archives with a stranger's names and texts in them |
//! | `markup` | HTML, read more strictly than browsers do |
//! | `posix` | archives, read to the letter |

mod asked;
mod headers;
mod markup;
mod posix;
mod shown;

pub use asked::{http_range, http_target};
pub use headers::{http_condition, http_credential, http_fields};
pub use shown::{http_archive, http_page};
