//! `In [16]`, the queues alone: a server for masters and workers in Python or Rust.

use std::thread;

use options::Serve;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

mod options;

fn main() {
    let options: Serve = options::parse();
    let done = match &options.command {
        Some(ask) => options.ask(ask),
        None => serve(&options),
    };
    if let Err(error) = done {
        options::fail(&error);
    }
}

fn serve(options: &Serve) -> anyhow::Result<()> {
    let (key, builder) = (options.key()?, options.builder());
    let _traces = options.prepare()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = options.serve(builder, &key)?;
    options::say(server.address())?;
    if let Some(address) = server.metrics_address() {
        options::say(format_args!("http://{address}/metrics"))?;
    }
    let stopper = server.stopper();
    thread::spawn(move || signals.forever().next().map(|_| stopper.stop()));
    server.wait();
    Ok(())
}
