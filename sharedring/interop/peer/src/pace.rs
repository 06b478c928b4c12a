//! How many items a call moves, and how fast this side goes.

use std::error::Error;
use std::hint::black_box;
use std::thread::yield_now;

/// The most items a call moves: a list of numbers, taken in turn; 0 is "all there is".
pub struct Batches {
    sizes: Vec<u64>,
    next: usize,
}

impl Batches {
    /// Reads a list such as `1,7,0`.
    pub fn parse(list: &str) -> Result<Self, Box<dyn Error>> {
        let sizes = list
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        Ok(Batches { sizes, next: 0 })
    }

    pub fn next(&mut self) -> u64 {
        let n = self.sizes[self.next];
        self.next = (self.next + 1) % self.sizes.len();
        if n == 0 {
            u64::MAX
        } else {
            n
        }
    }
}

/// Slows this side down: after every `every` items, some work and a yield.
pub struct Pace {
    every: u64,
    work: u64,
    since: u64,
}

impl Pace {
    /// Reads `EVERY:WORK`, in items and in rounds of an empty loop; `0:0` is full speed.
    pub fn parse(pace: &str) -> Result<Self, Box<dyn Error>> {
        let (every, work) = pace.split_once(':').ok_or("pace is not EVERY:WORK")?;
        Ok(Pace {
            every: every.parse()?,
            work: work.parse()?,
            since: 0,
        })
    }

    pub fn moved(&mut self, items: u64) {
        self.since += items;
        if self.every == 0 || self.since < self.every {
            return;
        }
        self.since = 0;
        for i in 0..self.work {
            black_box(i);
        }
        yield_now();
    }
}
