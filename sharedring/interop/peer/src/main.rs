//! One end of a ring, in the published Rust crate `shmem-ipc`, unmodified.
//!
//! A test starts this program with the other end in Go. It moves a known series of
//! items with the crate's public calls only, checks each one it receives, and ends
//! with one line: `ok count=N sum=HEX`. The sum is over the bytes of all items, so
//! equal sums mean that both processes saw the same bytes.
//!
//! A ring that Go made is inherited: memory is descriptor 3, empty-signal 4,
//! full-signal 5. For a ring that is made here, descriptor 3 is a unix stream socket,
//! and capacity and descriptors go to Go on it.

mod handle;
mod item;
mod pace;

use handle::Inherited;
use item::{Checksum, Item, Rec24};
use pace::{Batches, Pace};
use shmem_ipc::sharedring::{Receiver, Sender};
use std::error::Error;
use std::process::ExitCode;

const USAGE: &str =
    "usage: shmloop-interop-peer send|recv go|rust ITEM CAPACITY COUNT SEED BATCHES EVERY:WORK
  send|recv   what this end does
  go|rust     who makes the ring; rust: this program
  ITEM        u8, u64, rec24, bytes1300, bytes2000 or bytes4000
  CAPACITY    of the ring, in items
  COUNT       items to move
  SEED        of the series of items
  BATCHES     most items a call, taken in turn, such as 1,7,0; 0: all there is
  EVERY:WORK  after EVERY items WORK rounds of a loop and a yield; 0:0: full speed";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Job {
    sends: bool,
    makes_ring: bool,
    capacity: usize,
    count: u64,
    seed: u64,
    batches: Batches,
    pace: Pace,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match start(&args) {
        Ok((count, sum)) => {
            println!("ok count={count} sum={sum:016x}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("shmloop-interop-peer {}: {e}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &[String]) -> Result<(u64, u64)> {
    let [role, maker, item, capacity, count, seed, batches, pace] = args else {
        return Err(USAGE.into());
    };
    let job = Job {
        sends: one_of(role, "send", "recv")?,
        makes_ring: one_of(maker, "rust", "go")?,
        capacity: capacity.parse()?,
        count: count.parse()?,
        seed: seed.parse()?,
        batches: Batches::parse(batches)?,
        pace: Pace::parse(pace)?,
    };
    match item.as_str() {
        "u8" => job.run::<u8>(),
        "u64" => job.run::<u64>(),
        "rec24" => job.run::<Rec24>(),
        "bytes1300" => job.run::<[u8; 1300]>(),
        "bytes2000" => job.run::<[u8; 2000]>(),
        "bytes4000" => job.run::<[u8; 4000]>(),
        _ => Err(USAGE.into()),
    }
}

fn one_of(arg: &str, yes: &str, no: &str) -> Result<bool> {
    match arg {
        _ if arg == yes => Ok(true),
        _ if arg == no => Ok(false),
        _ => Err(USAGE.into()),
    }
}

impl Job {
    fn run<T: Item>(self) -> Result<(u64, u64)> {
        if self.sends {
            let tx = self.sender()?;
            self.send::<T>(tx)
        } else {
            let rx = self.receiver()?;
            self.receive::<T>(rx)
        }
    }

    fn sender<T: Item>(&self) -> Result<Sender<T>> {
        if !self.makes_ring {
            // Safety: the Go process started us with these three.
            let h = unsafe { Inherited::take() };
            return Ok(Sender::open(self.capacity, h.memory, h.empty, h.full)?);
        }
        let tx = Sender::new(self.capacity)?;
        handle::send(
            self.capacity,
            tx.memfd().as_file(),
            tx.empty_signal(),
            tx.full_signal(),
        )?;
        Ok(tx)
    }

    fn receiver<T: Item>(&self) -> Result<Receiver<T>> {
        if !self.makes_ring {
            // Safety: the Go process started us with these three.
            let h = unsafe { Inherited::take() };
            return Ok(Receiver::open(self.capacity, h.memory, h.empty, h.full)?);
        }
        let rx = Receiver::new(self.capacity)?;
        handle::send(
            self.capacity,
            rx.memfd().as_file(),
            rx.empty_signal(),
            rx.full_signal(),
        )?;
        Ok(rx)
    }

    fn send<T: Item>(mut self, mut tx: Sender<T>) -> Result<(u64, u64)> {
        let mut sum = Checksum::new();
        let mut seq = 0;
        while seq < self.count {
            tx.block_until_writable()?;
            let want = self.batches.next().min(self.count - seq);
            let before = seq;
            tx.send_raw(|p, room| {
                let n = want.min(room as u64) as usize;
                for i in 0..n {
                    let item = T::at(self.seed, seq);
                    sum.add(&item);
                    // Safety: the crate gives room for `room` items at p.
                    unsafe { p.add(i).write(item) };
                    seq += 1;
                }
                n
            })?;
            self.pace.moved(seq - before);
        }
        Ok((seq, sum.0))
    }

    fn receive<T: Item>(mut self, mut rx: Receiver<T>) -> Result<(u64, u64)> {
        let mut sum = Checksum::new();
        let mut seq = 0;
        while seq < self.count {
            rx.block_until_readable()?;
            let want = self.batches.next().min(self.count - seq);
            let before = seq;
            let mut wrong = None;
            rx.receive_raw(|p, there| {
                let n = want.min(there as u64) as usize;
                for i in 0..n {
                    // Safety: the crate gives `there` items at p.
                    let item = unsafe { p.add(i).read() };
                    sum.add(&item);
                    if wrong.is_none() && item.as_bytes() != T::at(self.seed, seq).as_bytes() {
                        wrong = Some(mismatch(seq, &item, &T::at(self.seed, seq)));
                    }
                    seq += 1;
                }
                n
            })?;
            if let Some(wrong) = wrong {
                return Err(wrong.into());
            }
            self.pace.moved(seq - before);
        }
        Ok((seq, sum.0))
    }
}

fn mismatch<T: Item>(seq: u64, got: &T, want: &T) -> String {
    let head = |item: &T| {
        let bytes = item.as_bytes();
        format!("{:02x?}", &bytes[..bytes.len().min(24)])
    };
    format!("item {seq} begins with {}, want {}", head(got), head(want))
}
