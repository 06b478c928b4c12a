//! Items that are a function of their sequence number, and their checksum.
//!
//! The Go side of the test makes the same bytes with the same arithmetic.

use zerocopy::{AsBytes, FromBytes};

/// An item type of the ring. `at` gives the item with sequence number `seq`.
pub trait Item: Copy + AsBytes + FromBytes {
    fn at(seed: u64, seq: u64) -> Self;
}

impl Item for u8 {
    fn at(seed: u64, seq: u64) -> Self {
        (mix(seed, seq) >> 56) as u8
    }
}

impl Item for u64 {
    fn at(seed: u64, seq: u64) -> Self {
        mix(seed, seq)
    }
}

/// 24 bytes, no padding, integers beside a float.
#[derive(Copy, Clone, AsBytes, FromBytes)]
#[repr(C)]
pub struct Rec24 {
    seq: u64,
    sum: u64,
    value: f64,
}

impl Item for Rec24 {
    fn at(seed: u64, seq: u64) -> Self {
        Rec24 {
            seq,
            sum: mix(seed, seq),
            value: seq as f64 + 0.25,
        }
    }
}

/// Large items, for rings of length 1, 2 and 3.
impl<const N: usize> Item for [u8; N] {
    fn at(seed: u64, seq: u64) -> Self {
        let mut item = [0u8; N];
        let mut word = mix(seed, seq);
        for chunk in item.chunks_mut(8) {
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
            word = word.wrapping_add(GOLDEN);
        }
        item
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of splitmix64: a bijection of `seed + seq`.
fn mix(seed: u64, seq: u64) -> u64 {
    let mut z = seed.wrapping_add(seq).wrapping_mul(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bits, over the bytes of the items in their order.
pub struct Checksum(pub u64);

impl Checksum {
    pub fn new() -> Self {
        Checksum(0xcbf2_9ce4_8422_2325)
    }

    pub fn add<T: Item>(&mut self, item: &T) {
        for &b in item.as_bytes() {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
