//! A server on loopback as it looks from far away, for tests and tools.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How much is passed on at a time.
const PIECE: usize = 1 << 16;

/// Passes on what is said to a port of its own, which it returns, to `port`, and back, each time
/// after `delay`: a round trip takes twice that. Only connecting is as near as before. Its threads
/// end with the connections, and with the process.
///
/// # Errors
///
/// Fails if loopback has no free port.
pub fn far_away(port: u16, delay: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A server that is not there hangs up on the client.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .and_then(|server| join(&client, &server, delay));
        }
    });
    Ok(own)
}

fn join(client: &TcpStream, server: &TcpStream, delay: Duration) -> io::Result<()> {
    for stream in [client, server] {
        stream.set_nodelay(true)?;
    }
    pass_on(client.try_clone()?, server.try_clone()?, delay);
    pass_on(server.try_clone()?, client.try_clone()?, delay);
    Ok(())
}

/// One thread notes when each piece came, and another one passes it on when it is time.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let piece = (Instant::now() + delay, buffer[..n].to_vec());
            if sender.send(piece).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
