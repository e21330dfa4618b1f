//! `qfs-wan`: runs a command across an emulated long-distance link. See the library for how.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
