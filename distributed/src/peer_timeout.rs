//! A peer whose machine or network is gone says nothing of it: the kernel finds out.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a peer may be silent if nobody says otherwise.
pub(crate) const PEER_TIMEOUT: Duration = Duration::from_secs(90);
/// The longest time that the kernel takes: twice the most before its first probe.
const LONGEST: Duration = Duration::from_secs(2 * 32_767);

/// Has the kernel end the connection when the peer has acknowledged nothing for so long, whether
/// data is on its way or none.
pub(crate) fn watch(stream: &SockRef, time: Duration) -> io::Result<()> {
    let time = time.clamp(Duration::from_millis(1), LONGEST);
    let second = Duration::from_secs(1);
    // Probes are for a connection on which nothing is on its way. When there were enough of them
    // is said by the time below, not by their number.
    let probes = TcpKeepalive::new()
        .with_time((time / 2).max(second))
        .with_interval((time / 10).max(second))
        .with_retries(10);
    stream.set_tcp_keepalive(&probes)?;
    stream.set_tcp_user_timeout(Some(time))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_is_told_of_every_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).expect("it listens");
        let socket = SockRef::from(&stream);
        for (asked, first_probe, silence) in [
            (PEER_TIMEOUT, 45, 90_000),
            (Duration::from_millis(200), 1, 200),
            (Duration::ZERO, 1, 1),
            (Duration::MAX, 32_767, 65_534_000),
        ] {
            watch(&socket, asked).expect("the kernel takes it");
            let told = (
                socket.tcp_keepalive_time().expect("it is TCP").as_secs(),
                socket.tcp_user_timeout().expect("it is TCP"),
            );
            let want = (first_probe, Some(Duration::from_millis(silence)));
            assert_eq!(told, want, "{asked:?}");
        }
    }
}
