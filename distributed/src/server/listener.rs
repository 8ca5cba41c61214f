//! What a server listens on, and the streams of those who come: TCP and Unix sockets.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::{ServerAddress, peer_timeout};

/// How many connections may wait to be accepted: enough for all workers of a cluster that start at
/// one moment. The kernel has a limit of its own (`net.core.somaxconn`, 4096 by default).
const BACKLOG: u32 = 4096;

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Its file, if it is not one of the names that are in no folder.
        _file: Option<SocketFile>,
    },
}

/// The stream of a client.
pub(super) enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Who is at the other end of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    Remote(SocketAddr),
    /// Of this machine, as the kernel knows it.
    Local {
        process: i32,
        user: u32,
    },
}

/// The file of a Unix socket, which goes with its server.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, by which another server's file is told apart.
    identity: (u64, u64),
}

impl Listener {
    /// Listens where the text says, and says where that is.
    pub(super) fn bind(address: &str) -> io::Result<(Listener, ServerAddress)> {
        match ServerAddress::unix(address) {
            Some(address) => Ok((bind_unix(&address)?, address)),
            None => {
                let listener = bind_tcp(address)?;
                let bound = ServerAddress::Tcp(listener.local_addr()?);
                Ok((Listener::Tcp(listener), bound))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(ClientStream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((ClientStream::Tcp(stream), Peer::Remote(address)))
            }
            Listener::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let cred = stream.peer_cred()?;
                let peer = Peer::Local {
                    // 0 for a process of another namespace.
                    process: cred.pid().unwrap_or(0),
                    user: cred.uid(),
                };
                Ok((ClientStream::Unix(stream), peer))
            }
        }
    }
}

/// Listens on the first of the addresses that `address` stands for on which it can.
fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let mut failure = ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let listener = socket.and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        });
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind_unix(address: &ServerAddress) -> io::Result<Listener> {
    let name = address.socket_address()?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Of two servers that find a stale file, one would remove the file that the other has made. A
    // folder that may not be read is not locked.
    let folder = address.path().and_then(|path| {
        let folder = path.parent().filter(|parent| parent.as_os_str() != "");
        let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
        folder.lock().ok().map(|()| folder)
    });
    match (socket.bind(&name), address.path()) {
        (Err(error), Some(path)) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path, address)?;
            socket.bind(&name)?;
        }
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse => return Err(in_use()),
        (bound, _) => bound?,
    }
    let file = address.path().map(|path| {
        let metadata = fs::symlink_metadata(path)?;
        io::Result::Ok(SocketFile {
            // Its program may change its folder.
            path: std::path::absolute(path)?,
            identity: (metadata.dev(), metadata.ino()),
        })
    });
    let file = file.transpose()?;
    socket.listen(BACKLOG as i32)?;
    drop(folder);
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix {
        listener: UnixListener::from_std(socket.into())?,
        _file: file,
    })
}

/// Removes the file of a server that is gone: nobody listens there.
fn remove_stale(path: &Path, address: &ServerAddress) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let text = "there is a file that is no socket: remove it, or choose another path";
        return Err(io::Error::new(ErrorKind::AlreadyExists, text));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One with a full backlog is alive, and would keep us waiting.
    probe.set_nonblocking(true)?;
    match probe.connect(&address.socket_address()?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    let text = "another server listens there: end it, or choose another name";
    io::Error::new(ErrorKind::AddrInUse, text)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let metadata = fs::symlink_metadata(&self.path);
        if metadata.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl ClientStream {
    /// Has messages sent at once, and the end of a machine noticed that says nothing for so long.
    /// The kernel tells of the end of a process of this machine.
    pub(super) fn prepare(&self, peer_timeout: Duration) -> io::Result<()> {
        match self {
            ClientStream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                peer_timeout::watch(&SockRef::from(stream), peer_timeout)
            }
            ClientStream::Unix(_) => Ok(()),
        }
    }

    /// Acknowledges what is read next at once: Python's clients write twice in a row, and the
    /// second write waits for the acknowledgement of the first, 40 ms by default. The kernel forgets
    /// the wish with time. On a Unix socket nothing is acknowledged.
    pub(super) fn acknowledge_quickly(&self) {
        if let ClientStream::Tcp(stream) = self {
            let _ = SockRef::from(stream).set_tcp_quickack(true);
        }
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        match self {
            ClientStream::Tcp(stream) => SockRef::from(stream),
            ClientStream::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Reads what is there, into the room that the buffer has: how many bytes.
    pub(super) async fn read_buf(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            ClientStream::Tcp(stream) => stream.read_buf(buffer).await,
            ClientStream::Unix(stream) => stream.read_buf(buffer).await,
        }
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ClientStream::Tcp(stream) => stream.write_all(bytes).await,
            ClientStream::Unix(stream) => stream.write_all(bytes).await,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Peer::Remote(address) => address.fmt(f),
            Peer::Local { process: 0, user } => write!(f, "a process of user {user}"),
            Peer::Local { process, user } => write!(f, "process {process} of user {user}"),
        }
    }
}
