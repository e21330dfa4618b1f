//! `qfs-wan`: runs a command across an emulated long-distance link. The library describes how.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
