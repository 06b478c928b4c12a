//! Both ends on one thread: the benchmark of the crate itself, benches/sharedring1.rs,
//! but for the capacity, which is that of the arms in Go, and for the receiver, which
//! copies a message out and looks at its number, as they do.

use crate::check::Check;
use crate::window::Window;
use crate::Result;
use shmem_ipc::sharedring::{Receiver, Sender};
use std::time::Duration;

pub fn run(size: usize, capacity: usize, warm_up: Duration, measure: Duration) -> Result<String> {
    let mut tx: Sender<u8> = Sender::new(capacity)?;
    let mut rx: Receiver<u8> = Receiver::open(
        capacity,
        tx.memfd().as_file().try_clone()?,
        tx.empty_signal().try_clone()?,
        tx.full_signal().try_clone()?,
    )?;
    // Not zeros: pages that were never written to are one page of these.
    let mut message = vec![0xa5u8; size];
    let mut copy = vec![0x5au8; size];
    let mut check = Check::default();
    let mut window = Window::start(warm_up, measure, None);
    let mut number = 0u64;
    loop {
        message[..8].copy_from_slice(&number.to_ne_bytes());
        number += 1;
        let mut done = 0;
        while done < size {
            let mut n = 0;
            // Safety: each end of the ring is used by this thread alone.
            let sent = unsafe {
                tx.send_trusted(|room| {
                    n = room.len().min(size - done);
                    room[..n].copy_from_slice(&message[done..done + n]);
                    n
                })?
            };
            let received = unsafe {
                rx.receive_trusted(|there| {
                    copy[done..done + n].copy_from_slice(&there[..n]);
                    n
                })?
            };
            window.doorbells += u64::from(sent.signal) + u64::from(received.signal);
            done += n;
        }
        check.see(&copy);
        if !window.add(1) {
            return Ok(format!("{} {}", window.report(), check.report()));
        }
    }
}
