//! The native half of the Python package `qfs`: a client, and its operations as calls that Python waits for.
//!
//! Nothing is decided here. The library `qfs-client` does the work; the other half, in `python/qfs`, is what people see.
//!
//! | module | owns |
//! |---|---|
//! | `engine` | the thread on which a client's work is done |
//! | `call` | an operation under way: waited for, looked at, ended |
//! | `counters` | how far it has come |
//! | `client` | the operations |
//! | `asked` | what operations are asked for |
//! | `connect` | making a client |
//! | `file` | a file that is read |
//! | `upload` | an upload whose bytes come one after another |
//! | `values` | what operations result in |
//! | `fault` | errors of the library as exceptions |

mod asked;
mod call;
mod client;
mod connect;
mod counters;
mod engine;
mod fault;
mod file;
mod upload;
mod values;

/// The module `qfs._native`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::call::Call;
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::connect::connect;
    #[pymodule_export]
    use crate::file::File;
    #[pymodule_export]
    use crate::upload::Upload;
    #[pymodule_export]
    use crate::values::{Entry, Outcome, Step};
}
