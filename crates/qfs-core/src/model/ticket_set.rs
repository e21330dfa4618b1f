//! One line that says where several servers of the same files are.

use std::fmt;
use std::str::FromStr;

use super::{ParseTicketError, Ticket};

/// `qfs://HOST:PORT,HOST:PORT…[#sha256:HEX[&token=TOKEN]]`: one or more servers, each as a [`Ticket`] has it. What stands behind `#`
/// is of all of them: servers with keys of their own have tickets of their own.
///
/// A ticket of one server is the set of that one. [`fmt::Display`] leaves the token out, as that of [`Ticket`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketSet(Vec<Ticket>);

impl TicketSet {
    /// Most servers of a set.
    pub const MAX_SERVERS: usize = 16;

    /// The servers, at least one, in the order in which they stand there.
    #[must_use]
    pub fn tickets(&self) -> &[Ticket] {
        &self.0
    }

    /// The servers.
    #[must_use]
    pub fn into_tickets(self) -> Vec<Ticket> {
        self.0
    }
}

impl From<Ticket> for TicketSet {
    fn from(ticket: Ticket) -> Self {
        Self(vec![ticket])
    }
}

impl FromStr for TicketSet {
    type Err = ParseTicketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("qfs://").ok_or(ParseTicketError::Scheme)?;
        let (hosts, fragment) = match rest.split_once('#') {
            Some((hosts, fragment)) => (hosts, format!("#{fragment}")),
            None => (rest, String::new()),
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        if hosts.split(',').count() > Self::MAX_SERVERS {
            return Err(ParseTicketError::TooMany);
        }
        // A slash stands behind the last one alone.
        let of_one = |host: &str| match host.ends_with('/') {
            true => Err(ParseTicketError::Host),
            false => format!("qfs://{host}{fragment}").parse(),
        };
        hosts.split(',').map(of_one).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for TicketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, ticket) in self.0.iter().enumerate() {
            let text = ticket.to_string();
            let authority = text.trim_start_matches("qfs://").split('#').next().unwrap_or_default();
            write!(f, "{}{authority}", if number == 0 { "qfs://" } else { "," })?;
        }
        match self.0.first().and_then(|ticket| ticket.fingerprint) {
            Some(fingerprint) => write!(f, "#{fingerprint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fingerprint;
    use super::*;

    #[test]
    fn a_set_reads_back_and_one_ticket_is_a_set() {
        let pin = Fingerprint::of_public_key(b"k");
        for text in [
            "qfs://127.0.0.1:8000".to_owned(),
            format!("qfs://a.example:1,b.example:2#{pin}"),
            format!("qfs://[::1]:9,127.0.0.1:10,c:11#{pin}"),
        ] {
            assert_eq!(text.parse::<TicketSet>().map(|set| set.to_string()), Ok(text));
        }
        let set: TicketSet = format!("qfs://a,b:7/#{pin}&token=sesame").parse().unwrap();
        let parts: Vec<_> = set.tickets().iter().map(|ticket| (ticket.host.as_str(), ticket.port)).collect();
        assert_eq!(parts, [("a", 8000), ("b", 7)]);
        for ticket in set.tickets() {
            assert_eq!(ticket.fingerprint, Some(pin));
            assert_eq!(ticket.token.as_ref().map(super::super::Token::reveal), Some("sesame"));
        }
        assert!(!format!("{set} {set:?}").contains("sesame"));
        let one = format!("qfs://h:1#{pin}");
        assert_eq!(one.parse::<TicketSet>().unwrap().into_tickets(), [one.parse::<Ticket>().unwrap()]);
    }

    // Fails when an old client could take a set for one server, or half a host passes.
    #[test]
    fn a_set_is_no_ticket_and_malformed_ones_are_refused() {
        assert!("qfs://a:1,b:2".parse::<Ticket>().is_err());
        assert!("qfs://a,b".parse::<Ticket>().is_err());
        let many = |count: usize| format!("qfs://{}", vec!["h:1"; count].join(",")).parse::<TicketSet>();
        assert!(many(TicketSet::MAX_SERVERS).is_ok());
        assert_eq!(many(TicketSet::MAX_SERVERS + 1), Err(ParseTicketError::TooMany));
        for (text, error) in [
            ("a:1,b:2", ParseTicketError::Scheme),
            ("qfs://", ParseTicketError::Host),
            ("qfs://a,", ParseTicketError::Host),
            ("qfs://,a", ParseTicketError::Host),
            ("qfs://a/,b", ParseTicketError::Host),
            ("qfs://a,qfs://b", ParseTicketError::Port),
            ("qfs://a:0,b", ParseTicketError::Port),
            ("qfs://a,b#x", ParseTicketError::Fingerprint),
        ] {
            assert_eq!(text.parse::<TicketSet>(), Err(error), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in "qfs://[a-z.]{1,5}(:[0-9]{1,5})?(,[a-z]{0,3}(:[0-9]{1,5})?){0,3}/?(#sha256:[0-9a-f]{64})?") {
            if let Ok(set) = text.parse::<TicketSet>() {
                proptest::prop_assert_eq!(set.to_string().parse::<TicketSet>(), Ok(set));
            }
        }
    }
}
