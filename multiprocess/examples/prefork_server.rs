//! A pre-fork server: four processes accept on one listener, and one that crashes is replaced, with
//! no harm to the clients of others: `cargo run -p multiprocess --example prefork_server -- 127.0.0.1:8000`,
//! then `curl 127.0.0.1:8000/` and `curl 127.0.0.1:8000/crash`.
//! In Python: `Process(target=serve, args=(listener,), daemon=True)`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, process, time::Duration};

use multiprocess::{Error, Process, Result};

fn main() -> Result<()> {
    let Some(address) = env::args().nth(1) else {
        eprintln!("usage: prefork_server HOST:PORT");
        process::exit(2);
    };
    let os = |error| Error::os(format!("listen on {address}"), error);
    let listener = TcpListener::bind(&address).map_err(os)?;
    println!("listening on {}", listener.local_addr().map_err(os)?);
    // A fork, so that the child has the listener; for that this program has one thread only. A
    // daemon ends with this program, however that ends.
    let start = || Process::builder().daemon(true).spawn(|| serve(&listener));
    let mut workers: Vec<_> = (0..4).map(|_| start()).collect::<Result<_>>()?;
    loop {
        for worker in &mut workers {
            let end = match worker.join_timeout(Duration::from_millis(50)) {
                Err(Error::TimedOut) => continue,
                Ok(error) | Err(error) => error,
            };
            eprintln!("process {}: {end}", worker.pid());
            *worker = start()?;
            println!("process {} takes its place", worker.pid());
        }
    }
}

/// Runs in each of the processes, until the listener fails.
fn serve(listener: &TcpListener) -> Error {
    loop {
        let answered = match listener.accept() {
            Ok((client, _)) => answer(client),
            Err(error) => return Error::os("accept a client", error),
        };
        answered.unwrap_or_else(|error| eprintln!("answer a client: {error}"));
    }
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(&client).lines().map_while(io::Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    if request.starts_with("GET /crash ") {
        process::abort();
    }
    client.write_all(format!("HTTP/1.0 200 OK\r\n\r\nprocess {}\n", process::id()).as_bytes())
}
