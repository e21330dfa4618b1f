//! The names of the forms that the log may have.

use std::str::FromStr;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// For people: `TIME LEVEL TARGET: event field=value …`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The names of [`LogFormat`] on the command line.
    pub(crate) const NAMES: [&str; 2] = ["text", "json"];
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_format() {
        assert!(LogFormat::NAMES.iter().all(|name| name.parse::<LogFormat>().is_ok()));
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
