//! `qfs-server`: hands out a directory of files over QUIC. The library does the work; this is its command line.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
