//! Messages that carry descriptors from process to process: SCM_RIGHTS of unix(7).

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
        getsockopt, recvmsg, sendmsg, socketpair, sockopt,
    },
};

/// The most descriptors that the system lets a message carry.
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// Two connected sockets that keep messages apart, closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (unix, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    Ok(socketpair(unix, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Whether `socket` may be an end of such a pair.
pub(crate) fn is_end_of_pair(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::SockType) == Ok(SockType::SeqPacket)
}

/// Sends a message with descriptors, as a whole or not at all.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_some(socket, message, descriptors, MsgFlags::empty()).map(|_| ())
}

/// As [`send`], to a stream of bytes too, which may take some only; how many it took.
pub(crate) fn send_some(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> io::Result<usize> {
    let descriptors: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let rights = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights
    };
    let message = [IoSlice::new(message)];
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(
        socket.as_raw_fd(),
        &message,
        rights,
        flags,
        None,
    )?)
}

/// Waits for a message of at most the buffer's length; its length, 0 at the end, and what it
/// carried.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    receive_some(socket, buffer, MsgFlags::empty())
}

/// As [`receive`], from a stream of bytes too.
pub(crate) fn receive_some(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            descriptors.extend(raw.into_iter().map(own));
        }
    }
    Ok((message.bytes, descriptors))
}

fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: called for what the kernel has just opened for this process, once for each.
    unsafe { OwnedFd::from_raw_fd(raw) }
}
