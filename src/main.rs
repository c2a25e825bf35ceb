//! The `peakpost` binary: see `peakpost --help`.
//!
//! Why: nothing is done here; the library is what is tested.
//! Must not know: anything but the command line's entry.

fn main() -> std::process::ExitCode {
    peakpost::cli::main()
}
