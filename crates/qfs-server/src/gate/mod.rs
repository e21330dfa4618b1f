//! Who is let in, how far, and what is written down about it.
//!
//! | module | owns |
//! |---|---|
//! | `abandoned` | clients that give up what they asked for |
//! | [`access`] | the rule of a server, and what it grants a request |
//! | `admission` | who may connect |
//! | [`audit`] | the audit trail |
//! | `patience` | clients that take nothing |
//! | [`rights`] | what somebody may do |
//! | [`tokens`] | the tokens handed out, on disk |

pub(crate) mod abandoned;
pub mod access;
pub(crate) mod admission;
pub mod audit;
pub(crate) mod patience;
pub mod rights;
pub mod tokens;
