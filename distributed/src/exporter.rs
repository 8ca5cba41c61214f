//! The address where Prometheus and load balancers look: `/metrics` and `/health`.
//!
//! Two paths that answer GET with a short text are all that is served, so a request is read up to the
//! end of its head and no further, and each connection has one.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::{Error, Result, Status};

/// How long a client may take for its request and for reading the answer.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes, and the most requests at one time. Who comes here has
/// proved no key, so it costs little however many there are.
const HEAD_MAX: u64 = 8 << 10;
const AT_ONCE: usize = 64;

/// A listener there, for [`serve`], and its address.
pub(crate) fn listen(address: &str) -> Result<(StdListener, SocketAddr)> {
    let bound = StdListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(Error::io(format!("listen on {address} for metrics")))
}

/// Answers whoever comes, with what `status` says at that moment, for ever.
pub(crate) async fn serve<S>(listener: StdListener, status: S) -> Result<()>
where
    S: Fn() -> Result<Status> + Send + Sync + 'static,
{
    let listener = TcpListener::from_std(listener).map_err(Error::io("listen for metrics"))?;
    let (status, places) = (Arc::new(status), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: others may leave meanwhile.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let _place = place;
            // A client that leaves or takes too long has no answer.
            let _ = timeout(REQUEST_TIME, answer(stream, status)).await;
        });
    }
}

async fn answer<S>(mut stream: TcpStream, status: Arc<S>) -> io::Result<()>
where
    S: Fn() -> Result<Status> + Send + Sync + 'static,
{
    let mut head = Vec::new();
    let (mut read, mut write) = stream.split();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let room = HEAD_MAX - head.len() as u64;
        if (&mut read).take(room).read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    // Off this thread, which serves queues: many queues make a long text, and an engine is asked.
    let ask = move |text: fn(Status) -> String| spawn_blocking(move || status().map(text));
    let asked = match (method, path) {
        ("GET" | "HEAD", "/metrics") => ask(|status| status.to_prometheus()).await?,
        ("GET" | "HEAD", "/health") => ask(|_| "ok\n".to_string()).await?,
        ("GET" | "HEAD", _) => {
            let text = "there are /metrics and /health\n";
            return reply(&mut write, "404 Not Found", method, text).await;
        }
        _ => return reply(&mut write, "405 Method Not Allowed", method, "GET it\n").await,
    };
    match asked {
        Ok(text) => reply(&mut write, "200 OK", method, &text).await,
        Err(error) => {
            let text = format!("no status: {error}\n");
            reply(&mut write, "503 Service Unavailable", method, &text).await
        }
    }
}

async fn reply(
    write: &mut (impl AsyncWriteExt + Unpin),
    status: &str,
    method: &str,
    text: &str,
) -> io::Result<()> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
    );
    let body = if method == "HEAD" { "" } else { text };
    write.write_all(format!("{head}{body}").as_bytes()).await?;
    write.shutdown().await
}
