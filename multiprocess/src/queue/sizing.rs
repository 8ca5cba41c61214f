//! How large the rings of a new queue are: as the machine has memory, and as the limits of the
//! process that makes the queue allow.

use std::io;

use super::layout::{AREAS, Header};
#[cfg(test)]
use super::memory::PAGE;
use crate::limits;
use crate::sys::shm::Shared;

/// The sizes of the hot and of the warm ring, as powers of two: 256 KiB and 8 MiB.
const HOT_AND_WARM: [u8; 2] = [18, 23];

/// The least size of a cold ring while no limit is in the way: 16 GiB of addresses.
const COLD_MIN: u8 = 34;

/// The smallest ring: some pages.
const SMALLEST: u8 = 14;

/// Many queues leave this part of all addresses to the program.
const PART_OF_THE_PROGRAM: u64 = 4;

/// A queue takes this part of what is left of the rest, so that others have theirs.
const PART_OF_A_QUEUE: u64 = 8;

/// A queue that comes late takes this part of all that is left.
const PART_OF_A_LATE_QUEUE: u64 = 64;

/// The sizes of a new queue's rings, and of what it lends, as powers of two.
///
/// # Errors
///
/// A limit of the process leaves no room for a queue; the error names it.
pub(super) fn allowed() -> io::Result<[u8; AREAS]> {
    let header = Shared::<Header>::WORDS as u64;
    let by_file_size = limits::file_size().saturating_sub(header);
    let by_addresses = addresses().saturating_sub(header);
    let usual = [HOT_AND_WARM[0], HOT_AND_WARM[1], cold(), cold(), cold()];
    fitting(usual, by_file_size.min(by_addresses)).ok_or_else(|| {
        let limit = match by_file_size < by_addresses {
            true => "limit of file sizes (RLIMIT_FSIZE, `ulimit -f`)",
            false => "limit of address space (RLIMIT_AS, `ulimit -v`)",
        };
        io::Error::other(format!(
            "the {limit} leaves no room for it: raise the limit"
        ))
    })
}

/// How many addresses a new queue may take, in bytes.
fn addresses() -> u64 {
    let limit = limits::address_space();
    let left = limit.saturating_sub(limits::address_space_used());
    let for_queues = left.saturating_sub(limit / PART_OF_THE_PROGRAM);
    (for_queues / PART_OF_A_QUEUE).max(left / PART_OF_A_LATE_QUEUE)
}

/// The usual size of a cold ring: half of the machine's memory, since an item is in the queue and in
/// the hands of a process at the same time.
fn cold() -> u8 {
    let half = limits::physical_memory() / 2;
    let size = half.clamp(1 << COLD_MIN, 1 << 40).next_power_of_two();
    size.trailing_zeros() as u8
}

/// Halves the largest rings until all have room in so many bytes.
fn fitting(mut shifts: [u8; AREAS], room: u64) -> Option<[u8; AREAS]> {
    while shifts.iter().map(|shift| 1u64 << shift).sum::<u64>() > room {
        let largest = shifts.into_iter().max().filter(|&shift| shift > SMALLEST)?;
        for shift in shifts.iter_mut().filter(|shift| **shift == largest) {
            *shift -= 1;
        }
    }
    Some(shifts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_shrink_with_the_room_and_the_largest_first() {
        let usual = [18, 23, 34, 34, 34];
        assert_eq!(fitting(usual, u64::MAX), Some(usual));
        assert_eq!(fitting(usual, 1 << 30), Some([18, 23, 28, 28, 28]));
        assert_eq!(fitting(usual, 1 << 20), Some([17; AREAS]));
        assert_eq!(fitting(usual, 5 << 14), Some([14; AREAS]));
        assert_eq!(fitting(usual, (5 << 14) - 1), None);
        const { assert!(1 << SMALLEST >= 4 * PAGE) };
    }
}
