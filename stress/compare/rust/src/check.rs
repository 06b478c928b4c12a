//! The check of the sequence numbers of one stream, as harness.Check does it.

use std::collections::HashSet;

/// How many missing numbers are remembered at most.
const MAX_MISSING: usize = 1 << 16;

#[derive(Default)]
pub struct Check {
    next: u64,
    missing: HashSet<u64>,
    lost: u64,
    duplicated: u64,
    reordered: u64,
}

impl Check {
    /// Takes the number at the beginning of a message.
    #[inline]
    pub fn see(&mut self, message: &[u8]) {
        let mut number = [0u8; 8];
        number.copy_from_slice(&message[..8]);
        let number = u64::from_ne_bytes(number);
        if number == self.next {
            self.next += 1;
        } else {
            self.surprise(number);
        }
    }

    #[cold]
    fn surprise(&mut self, number: u64) {
        if number > self.next {
            self.lost += number - self.next;
            for n in self.next..number {
                if self.missing.len() == MAX_MISSING {
                    break;
                }
                self.missing.insert(n);
            }
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.lost -= 1;
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    pub fn report(&self) -> String {
        format!(
            "lost={} duplicated={} reordered={}",
            self.lost, self.duplicated, self.reordered
        )
    }
}
