//! Figures of the whole program beside what the machine can do plainly: `scripts/bench`.
//!
//! Each ratio is taken in one run, the two sides in turns, so that a busy machine slows both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bare;
mod demo;
mod disk;
mod fill;
mod http;
mod interrupt;
mod large;
mod ledger;
mod redirects;
mod report;
mod small;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::Report;

/// Prints how closeby compares with plain disks, plain hashing and a bare server.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Args {
    /// Only this part; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The folder to work in, on a real disk; everything in it is removed at the end.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    data: PathBuf,
    /// The length of the large file, in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(8..))]
    size_mib: u64,
    /// How many small files.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(64..))]
    files: u64,
    /// How many blobs the larger ledger has.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    blobs: u64,
    /// Runs as the bare server that the redirects are compared with.
    #[arg(long, hide = true)]
    bare: bool,
    /// What cargo gives every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Redirects,
    Upload,
    Small,
    Ledger,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.bare {
        bare::serve();
        return ExitCode::SUCCESS;
    }
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let folder = disk::folder(&args.data);
    interrupt::watch(folder.path().to_owned());
    let mut report = Report::default();
    println!(
        "{} cores, {}, load {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        disk::kind(folder.path()),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    if wanted(Part::Redirects) {
        redirects::measure(folder.path(), &mut report);
    }
    if wanted(Part::Upload) {
        large::measure(folder.path(), args.size_mib, &mut report);
    }
    if wanted(Part::Small) {
        small::measure(folder.path(), args.files, &mut report);
    }
    if wanted(Part::Ledger) {
        ledger::measure(folder.path(), args.blobs, &mut report);
    }
    report.print();
    if report.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
