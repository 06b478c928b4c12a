//! The arms of the stress program that are the published Rust crate `shmem-ipc`,
//! unmodified, through its public calls.
//!
//!     shmloop-stress-peer echo SIZE CAPACITY WARM_UP_NS MEASURE_NS
//!     shmloop-stress-peer receive SIZE CAPACITY BATCH WARM_UP_NS MEASURE_NS PRODUCER_PID
//!     shmloop-stress-peer send SIZE CAPACITY BATCH
//!
//! SIZE is that of a message and CAPACITY that of the ring, in bytes. A sender fills
//! BATCH bytes before it says so to the ring, but always whole messages and one at
//! least; a receiver takes up to BATCH bytes at once. Each message begins with its
//! number, a u64.
//!
//! The ring of `send` and `receive` is inherited: memory is descriptor 3, empty-signal
//! 4, full-signal 5. The process ends when its standard input does. At its end it
//! prints a line: those that measure KEY=VALUE..., a sender how many messages it sent
//! and how often it rang.

mod check;
mod echo;
mod stream;
mod window;

use std::error::Error;
use std::io::{self, Read};
use std::process::{exit, ExitCode};
use std::thread;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("shmloop-stress-peer {}: {e}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<String> {
    let (command, numbers) = args.split_first().ok_or("no command")?;
    let numbers = numbers
        .iter()
        .map(|s| s.parse::<u64>())
        .collect::<std::result::Result<Vec<u64>, _>>()?;
    let n = |i: usize| numbers[i] as usize;
    match (command.as_str(), numbers.len()) {
        ("echo", 4) => {
            end_with_input();
            echo::run(n(0), n(1), nanos(numbers[2]), nanos(numbers[3]))
        }
        ("receive", 6) => {
            end_with_input();
            let window = window::Window::start(
                nanos(numbers[3]),
                nanos(numbers[4]),
                Some(numbers[5] as i32),
            );
            stream::receive(n(0), n(1), n(2), window)
        }
        ("send", 3) => stream::send(n(0), n(1), n(2)),
        _ => Err("wrong arguments".into()),
    }
}

fn nanos(n: u64) -> Duration {
    Duration::from_nanos(n)
}

/// Ends the process when its standard input ends, whatever it waits for. That is no
/// failure: who closes it has the result or wants none.
fn end_with_input() {
    thread::spawn(|| {
        wait_for_end_of_input();
        exit(0)
    });
}

/// Returns when standard input ends.
fn wait_for_end_of_input() {
    let mut b = [0u8; 64];
    while matches!(io::stdin().read(&mut b), Ok(n) if n > 0) {}
}
