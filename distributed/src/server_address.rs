use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use socket2::SockAddr;

use crate::{Error, Result};

/// The longest name of a Unix socket, in bytes, as Linux has it.
const UNIX_NAME_MAX: usize = 107;

/// Where a server listens; from [`Server::address`](crate::Server::address). Its text is what
/// [`Client::connect`](crate::Client::connect) and [`Builder::serve`](crate::Builder::serve) take.
///
/// Python's address is the pair of host and port of the first kind, the path of the second, and of
/// the third the name after a null character: `address="\0tasks"` for `@tasks`.
///
/// # Examples
///
/// ```
/// use distributed::{Client, Error, Server, ServerAddress};
///
/// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
/// let ServerAddress::Tcp(address) = server.address() else {
///     panic!("it is host and port that it was told");
/// };
/// assert_ne!(address.port(), 0);
///
/// let name = format!("@tasks-{}", std::process::id());
/// let server = Server::builder().queue("tasks").serve(&name, b"abc")?;
/// assert_eq!(server.address().to_string(), name);
/// Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?.put(&34)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerAddress {
    /// A port of TCP: `127.0.0.1:5000`.
    Tcp(SocketAddr),
    /// A Unix socket by its path, which begins with `/` or `.`: `/run/tasks.sock`, `./tasks.sock`.
    Unix(PathBuf),
    /// A Unix socket of Linux under a name that is in no folder: `@tasks`.
    Abstract(String),
}

impl ServerAddress {
    /// The Unix socket that a text names; none if it names none.
    pub(crate) fn unix(text: &str) -> Option<ServerAddress> {
        match text.as_bytes().first()? {
            b'/' | b'.' => Some(ServerAddress::Unix(text.into())),
            b'@' | b'\0' => Some(ServerAddress::Abstract(text[1..].into())),
            _ => None,
        }
    }

    /// Refuses a text that names neither host and port nor a Unix socket.
    pub(crate) fn check(text: &str) -> Result<()> {
        let refused = |reason: String| Err(Error::Address(reason));
        if let Some(address) = ServerAddress::unix(text) {
            let len = text.len() - usize::from(matches!(address, ServerAddress::Abstract(_)));
            return match len {
                0 => refused("a name is missing after the @ of a Unix socket".into()),
                _ if text[1..].contains('\0') => {
                    refused("the name of a Unix socket has a null character in it".into())
                }
                1..=UNIX_NAME_MAX => Ok(()),
                _ => refused(format!(
                    "the name of a Unix socket has {UNIX_NAME_MAX} bytes at most, and `{text}` has {len}"
                )),
            };
        }
        if text.contains("://") {
            let reason = "a URL is for `distributed::connect` and for `--queues`: here it is HOST:PORT, \
                          or the path of a Unix socket";
            return refused(reason.into());
        }
        let parts = text.rsplit_once(':');
        match parts.filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            Some(_) => Ok(()),
            None => refused(format!(
                "expected HOST:PORT, as 127.0.0.1:5000, or a Unix socket, as /run/tasks.sock, \
                 ./tasks.sock or @tasks, in place of `{text}`"
            )),
        }
    }

    /// The path of a Unix socket that is a file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            ServerAddress::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// As the system has it.
    pub(crate) fn socket_address(&self) -> io::Result<SockAddr> {
        match self {
            ServerAddress::Tcp(address) => Ok((*address).into()),
            ServerAddress::Unix(path) => SockAddr::unix(path),
            ServerAddress::Abstract(name) => SockAddr::unix(format!("\0{name}")),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ServerAddress::Tcp(address) => address.fmt(f),
            ServerAddress::Unix(path) => path.display().fmt(f),
            ServerAddress::Abstract(name) => write!(f, "@{name}"),
        }
    }
}
