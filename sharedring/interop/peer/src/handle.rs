//! A ring's handle: capacity and three descriptors, to or from the Go process.

use std::error::Error;
use std::fs::File;
use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};

/// Memory, empty-signal and full-signal of a ring that the Go process made.
pub struct Inherited {
    pub memory: File,
    pub empty: File,
    pub full: File,
}

impl Inherited {
    /// # Safety
    ///
    /// Descriptors 3, 4 and 5 must be open, and nothing else may own them.
    pub unsafe fn take() -> Self {
        Inherited {
            memory: File::from_raw_fd(3),
            empty: File::from_raw_fd(4),
            full: File::from_raw_fd(5),
        }
    }
}

/// The inherited socket on which a ring that is made here goes to Go.
const SOCKET: RawFd = 3;

/// Sends the capacity (native-endian u64) and the three descriptors in one message.
pub fn send(
    capacity: usize,
    memory: &File,
    empty: &File,
    full: &File,
) -> Result<(), Box<dyn Error>> {
    let fds: [RawFd; 3] = [memory.as_raw_fd(), empty.as_raw_fd(), full.as_raw_fd()];
    let mut data = (capacity as u64).to_ne_bytes();
    let mut iov = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // u64, because a control message header must be aligned.
    let mut control = [0u64; 8];
    let fds_len = size_of_val(&fds) as u32;

    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(fds_len) as _;
        assert!(message.msg_controllen as usize <= control.len() * size_of::<u64>());

        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(fds_len) as _;
        libc::CMSG_DATA(header)
            .cast::<[RawFd; 3]>()
            .write_unaligned(fds);
        libc::sendmsg(SOCKET, &message, 0)
    };
    if sent != data.len() as isize {
        return Err(format!(
            "sendmsg of the handle: {} of {} bytes: {}",
            sent,
            data.len(),
            io::Error::last_os_error()
        )
        .into());
    }
    Ok(())
}
