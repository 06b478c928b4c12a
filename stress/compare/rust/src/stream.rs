//! One way between two processes. The other end may be Go.

use crate::check::Check;
use crate::window::Window;
use crate::{wait_for_end_of_input, Result};
use shmem_ipc::sharedring::{Receiver, Sender};
use std::fs::File;
use std::os::unix::io::FromRawFd;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Duration;

/// Memory, empty-signal and full-signal of the inherited ring.
fn inherited() -> [File; 3] {
    // Safety: whoever starts `send` or `receive` passes these, and nothing else here
    // owns them.
    [3, 4, 5].map(|fd| unsafe { File::from_raw_fd(fd) })
}

/// How long a sender that was asked to stop waits for room for the rest of a message.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a sender has done, for the thread that prints it.
#[derive(Default)]
struct Sent {
    messages: AtomicU64,
    doorbells: AtomicU64,
}

/// Sends until standard input ends.
pub fn send(size: usize, capacity: usize, batch: usize) -> Result<String> {
    let [memory, empty, full] = inherited();
    let tx: Sender<u8> = Sender::open(capacity, memory, empty, full)?;
    let sent = Arc::new(Sent::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (done, ended) = mpsc::channel();
    thread::spawn({
        let (sent, stop) = (sent.clone(), stop.clone());
        move || {
            if let Err(e) = send_on(tx, size, batch, &sent, &stop) {
                eprintln!("shmloop-stress-peer send: {e}");
                exit(1);
            }
            let _ = done.send(()); // fails if nobody waits any more
        }
    });
    wait_for_end_of_input();
    stop.store(true, Ordering::Relaxed);
    // It may wait for room in a ring that nobody reads any more: then it is left behind.
    let _ = ended.recv_timeout(PATIENCE);
    Ok(format!(
        "{} {}",
        sent.messages.load(Ordering::Relaxed),
        sent.doorbells.load(Ordering::Relaxed)
    ))
}

fn send_on(
    mut tx: Sender<u8>,
    size: usize,
    batch: usize,
    sent: &Sent,
    stop: &AtomicBool,
) -> Result<()> {
    // The producer's own buffer, from which messages are copied into the ring.
    let per_batch = (batch / size).max(1);
    let mut buffer = vec![0xa5u8; per_batch * size];
    let mut number = 0u64;
    let mut doorbells = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for message in buffer.chunks_exact_mut(size) {
            message[..8].copy_from_slice(&number.to_ne_bytes());
            number += 1;
        }
        let mut done = 0;
        while done < buffer.len() {
            let mut n = 0;
            // Safety: this is the only sender, and receivers only read what was sent.
            let status = unsafe {
                tx.send_trusted(|room| {
                    n = room.len().min(buffer.len() - done);
                    room[..n].copy_from_slice(&buffer[done..done + n]);
                    n
                })?
            };
            doorbells += u64::from(status.signal);
            done += n;
            if n == 0 {
                tx.block_until_writable()?;
            }
        }
        sent.messages.store(number, Ordering::Relaxed);
        sent.doorbells.store(doorbells, Ordering::Relaxed);
    }
    Ok(())
}

/// Receives until the window is over. Messages are copied to a buffer and checked there.
pub fn receive(size: usize, capacity: usize, batch: usize, mut window: Window) -> Result<String> {
    let [memory, empty, full] = inherited();
    let mut rx: Receiver<u8> = Receiver::open(capacity, memory, empty, full)?;
    let mut buffer = vec![0x5au8; (batch / size).max(1) * size];
    let mut used = 0;
    let mut check = Check::default();
    loop {
        let mut n = 0;
        // Safety: this is the only receiver; what a sender changes meanwhile is copied once.
        let status = unsafe {
            rx.receive_trusted(|there| {
                n = there.len().min(buffer.len() - used);
                buffer[used..used + n].copy_from_slice(&there[..n]);
                n
            })?
        };
        window.doorbells += u64::from(status.signal);
        if n == 0 {
            window.waits += 1;
            rx.block_until_readable()?;
            continue;
        }
        used += n;
        let whole = used / size * size;
        for message in buffer[..whole].chunks_exact(size) {
            check.see(message);
        }
        if whole > 0 {
            buffer.copy_within(whole..used, 0);
            used -= whole;
            if !window.add((whole / size) as u64) {
                return Ok(format!("{} {}", window.report(), check.report()));
            }
        }
    }
}
