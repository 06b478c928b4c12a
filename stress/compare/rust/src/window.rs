//! When a measurement begins and ends, and what it has counted: as harness.Window does
//! it for the arms in Go.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const OVER: u8 = 2;

/// What is read at both ends of the window.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu: u64,
    producer_cpu: u64,
    switches: u64,
    messages: u64,
    doorbells: u64,
    waits: u64,
}

/// Counts between two points in time. The clock is a thread of its own, so that asking
/// costs one load, as in the arms in Go.
pub struct Window {
    phase: Arc<AtomicU8>,
    begun: mpsc::Sender<()>,
    seen: u8,
    producer: Option<i32>,
    begin: Option<Reading>,
    messages: u64,
    pub doorbells: u64,
    pub waits: u64,
}

impl Window {
    /// Begins the warm-up. `producer` is the process that sends, if it is another one.
    pub fn start(warm_up: Duration, measure: Duration, producer: Option<i32>) -> Self {
        let phase = Arc::new(AtomicU8::new(WARM_UP));
        let (begun, when_begun) = mpsc::channel();
        let clock = phase.clone();
        thread::spawn(move || {
            thread::sleep(warm_up);
            clock.store(MEASURE, Ordering::Relaxed);
            // A message of the warm-up may take its time. Nobody comes if it never ends.
            if when_begun.recv().is_ok() {
                thread::sleep(measure);
                clock.store(OVER, Ordering::Relaxed);
            }
        });
        Window {
            phase,
            begun,
            seen: WARM_UP,
            producer,
            begin: None,
            messages: 0,
            doorbells: 0,
            waits: 0,
        }
    }

    /// Counts messages, and returns whether the measurement goes on.
    #[inline]
    pub fn add(&mut self, messages: u64) -> bool {
        self.messages += messages;
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == self.seen {
            return true;
        }
        self.turn(phase)
    }

    #[cold]
    fn turn(&mut self, phase: u8) -> bool {
        self.seen = phase;
        if phase == OVER {
            return false;
        }
        self.begin = Some(self.reading());
        let _ = self.begun.send(()); // the clock waits for it
        true
    }

    /// The result as one line of KEY=VALUE, once `add` has returned false.
    pub fn report(&self) -> String {
        let end = self.reading();
        let begin = self.begin.unwrap_or(end);
        format!(
            "messages={} ns={} cpu_ns={} producer_cpu_ns={} switches={} doorbells={} waits={}",
            end.messages - begin.messages,
            (end.at - begin.at).as_nanos(),
            end.cpu - begin.cpu,
            end.producer_cpu - begin.producer_cpu,
            end.switches - begin.switches,
            end.doorbells - begin.doorbells,
            end.waits - begin.waits,
        )
    }

    fn reading(&self) -> Reading {
        Reading {
            at: Instant::now(),
            cpu: clock(libc::CLOCK_PROCESS_CPUTIME_ID),
            producer_cpu: self.producer.map_or(0, |pid| clock(clock_of(pid))),
            switches: switches(),
            messages: self.messages,
            doorbells: self.doorbells,
            waits: self.waits,
        }
    }
}

/// The clock of a process's CPU time: what clock_getcpuclockid(3) gives.
fn clock_of(pid: i32) -> libc::clockid_t {
    (!pid << 3) | 2
}

/// Nanoseconds on a clock, 0 if there is no such clock.
fn clock(id: libc::clockid_t) -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Safety: t is ours, and the call keeps no pointer.
    unsafe { libc::clock_gettime(id, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Context switches of this process, all its threads.
fn switches() -> u64 {
    // Safety: the call fills a plain structure of ours.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        (usage.ru_nvcsw + usage.ru_nivcsw) as u64
    }
}
