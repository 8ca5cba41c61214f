//! Who can do what to a server of queues and to its clients.
//!
//! **Without the key**, one who reaches the port can hold a connection open for the time of the
//! handshake, and learn that a manager listens. The server reads at most 256 bytes a frame from a
//! stranger, answers none of its challenges before it has proved itself, compares proofs in
//! constant time, and closes at the deadline. Strangers have places of their own, so they take none of
//! those who have the key, and whoever opens connections fast drives out his own
//! ([`Builder::max_connections`](crate::Builder::max_connections)). Against one who opens ten thousand a
//! second from the address of an honest client, only a firewall helps. A public address has to be asked for; an empty key
//! is refused. The log names the address of who is refused, at most ten in ten seconds.
//!
//! **On a Unix socket** with a path, only those reach the server whom the mode of its file lets, which
//! is what the umask says; on an `@` name every process of the machine does. Both must prove the key
//! as well. The log names the process and the user. One who may write to the folder can put a socket
//! of his own in the place of the file: it belongs in a folder of the server's user.
//!
//! **With the key**, one can do everything: open, fill and empty every queue, make queues, and end
//! the server (`shutdown`). The server limits what that costs: the length of a message, the number
//! of its values, of connections and of made queues, and the memory of all items together
//! ([`Builder::max_memory`](crate::Builder::max_memory)). Who fills that keeps others from putting,
//! and ends nothing.
//!
//! **On the wire** nothing is encrypted, and nothing after the handshake is signed. The key itself
//! is never sent. Who can listen reads all items. Who can sit between two sides can let them shake
//! hands and then read and change what they say; and a short key can be guessed from a recorded
//! handshake. A false server that is asked for a proof can have one from another client: clients of one
//! process of this crate see through that and refuse, those of different processes cannot. A proof is
//! by SHA-256 from Python 3.12 on, and by MD5 before;
//! [`Builder::require_sha256`](crate::Builder::require_sha256) and
//! [`Client::connect_sha256`](crate::Client::connect_sha256) refuse the latter. On a network that is not yours, use a tunnel: SSH, WireGuard, or TLS by a proxy.
//!
//! **The server runs nothing.** It reads pickles as data, names no class and calls no function,
//! where CPython's server runs whatever a pickle says, at once on receipt.
//!
//! **A Python consumer still does.** `get()` unpickles what a producer put, and a pickle can run
//! any code. So all who have the key must be as trusted as the consumers' own code; the key of a
//! queue is the right to run programs on every Python worker. A Rust client runs nothing: it reads
//! data of the type that it asks for, or fails.
