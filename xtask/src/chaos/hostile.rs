//! A manager among hostile clients: it keeps within its memory, answers an honest client, and loses
//! nothing that it has acknowledged.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::program::Program;
use distributed::handshake::{Digest, Handshake, Step};
use distributed::{Client, Error, QueueOptions, Server, pickle};
use serde::Serialize;

use super::Round;
use super::watch;

const KEY: &[u8] = b"abc";
/// What the manager may store, in bytes, and what it may have in memory for that.
const BUDGET: u64 = 256 << 20;
const RESIDENT_MAX: u64 = 400 << 20;
/// How long 99 of 100 honest calls may take.
const P99_MAX: Duration = Duration::from_millis(50);
/// The honest client's queue, and the one that others fill.
const WORK: &str = "work";
const FILLED: &str = "filled";
const LARGE: usize = 256 << 10;
/// More replies than the buffers of two sockets take.
const UNREAD: usize = 100;
const AT_ONCE: usize = 1_000;
const LEFT_BEHIND: usize = 8;
/// How long a client that reads nothing stays.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a call may take that is not measured.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a hostile client does until this moment; how often it has.
type Deed = fn(&mut HostileClient) -> anyhow::Result<u64>;

/// What each five of the twenty do, and how that is counted.
const DEEDS: [(&str, Deed); 4] = [
    ("items of 256 KiB offered", fill),
    ("replies never read", never_read),
    ("leases left behind", lease_and_vanish),
    ("calls sent at once", pipeline),
];
const CLIENTS_EACH: usize = 5;

/// The manager, until its input ends.
pub(super) fn program(_seed: u64) -> anyhow::Result<()> {
    let work = QueueOptions::new(WORK).redeliver(true);
    let server = Server::builder()
        .queue(work.max_deliveries(u32::MAX))
        .queue(FILLED)
        .max_memory(BUDGET)
        .serve("127.0.0.1:0", KEY)?;
    println!("{}", server.address());
    io::stdin().lock().read_line(&mut String::new())?;
    server.shutdown();
    Ok(())
}

pub(super) fn judge_short(seed: u64) -> anyhow::Result<Round> {
    judge(seed, Duration::from_secs(5))
}

pub(super) fn judge_long(seed: u64) -> anyhow::Result<Round> {
    judge(seed, Duration::from_secs(60))
}

fn judge(seed: u64, time: Duration) -> anyhow::Result<Round> {
    let mut round = Round::default();
    let mut program = watch::start("manager-hostile", seed)?;
    let address = program.line(Instant::now() + DEADLINE);
    let address = address.context("where the manager listens")?;
    let until = Instant::now() + time;
    let honest = thread::scope(|scope| {
        let mut hostile = Vec::new();
        for (what, deed) in DEEDS {
            for _ in 0..CLIENTS_EACH {
                let address = &address;
                hostile.push((what, scope.spawn(move || attack(address, deed, until))));
            }
        }
        let honest = HonestClient::work(&address, until);
        for (what, client) in hostile {
            let deeds = client.join().expect("what fails is an error");
            round.claim(deeds > 0, || format!("a client did nothing of its {what}"));
            round.count(what, deeds);
        }
        honest
    })?;
    honest.judge(&address, &mut round)?;
    let most = most_resident(&program)?;
    round.count("MiB in memory at most", most >> 20);
    round.claim(most < RESIDENT_MAX, || {
        format!("it had {} MiB in memory", most >> 20)
    });
    watch::go_on(&mut program)?;
    let ended = watch::ends_well(&mut program, Instant::now() + DEADLINE)?;
    round.claim(ended, || "the program did not end well".to_string());
    Ok(round)
}

/// Does the same again and again, each time as a client that has just come.
fn attack(address: &str, deed: Deed, until: Instant) -> u64 {
    let mut deeds = 0;
    while Instant::now() < until {
        // One that the manager turns out comes again.
        let done = HostileClient::connect(address, until).and_then(|mut client| deed(&mut client));
        deeds += done.unwrap_or(0);
    }
    deeds
}

/// The most that the program ever had in memory, in bytes.
fn most_resident(program: &Program) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()));
    let status = status.context("the memory of the manager")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("the memory of the manager")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Who puts, leases and finishes numbers all the while.
struct HonestClient {
    put: u64,
    /// Those that it has finished.
    done: Vec<u64>,
    /// How long each call took.
    times: Vec<Duration>,
}

impl HonestClient {
    fn work(address: &str, until: Instant) -> anyhow::Result<HonestClient> {
        let work = Client::connect(address, KEY)?.queue::<u64>(WORK)?;
        let mut times = Vec::new();
        let (mut put, mut done) = (0, Vec::new());
        let mut start = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            times.push(now - start);
            start = now;
        };
        while Instant::now() < until {
            work.put(&put).context("put what is honest")?;
            put += 1;
            lap();
            match work.lease_timeout(Duration::ZERO) {
                Ok(lease) => {
                    lap();
                    let item = lease.item;
                    lease.done().context("finish what is honest")?;
                    done.push(item);
                }
                // Others have leased all that there is.
                Err(Error::Empty) => {}
                Err(error) => return Err(error).context("lease what is honest"),
            }
            lap();
        }
        Ok(HonestClient { put, done, times })
    }

    /// Finishes what is left, now that the others are gone, and sees that each number was there once.
    fn judge(mut self, address: &str, round: &mut Round) -> anyhow::Result<()> {
        let work = Client::connect(address, KEY)?.queue::<u64>(WORK)?;
        let deadline = Instant::now() + DEADLINE;
        while (self.done.len() as u64) < self.put && Instant::now() < deadline {
            match work.lease_timeout(Duration::from_millis(100)) {
                Ok(lease) => {
                    self.done.push(lease.item);
                    lease.done()?;
                }
                Err(Error::Empty) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let rest = work.len()?;
        round.claim(rest == 0, || format!("{rest} items too many"));
        self.done.sort_unstable();
        let times_done = self.done.len() as u64;
        self.done.dedup();
        let (doubled, lost) = (
            times_done - self.done.len() as u64,
            self.put - self.done.len() as u64,
        );
        round.claim(lost == 0, || format!("{lost} acknowledged items are lost"));
        round.claim(doubled == 0, || format!("{doubled} items were done twice"));
        self.times.sort_unstable();
        let p99 = self.times.get(self.times.len() * 99 / 100);
        let p99 = *p99.context("the honest client made no call")?;
        round.count("honest calls", self.times.len() as u64);
        round.count("ms for 99 of 100 honest calls", p99.as_millis() as u64);
        round.claim(p99 < P99_MAX, || {
            format!("1 of 100 honest calls took {p99:?} or longer")
        });
        Ok(())
    }
}

/// A client that says what it likes, after an honest handshake.
struct HostileClient {
    stream: TcpStream,
    until: Instant,
}

impl HostileClient {
    fn connect(address: &str, until: Instant) -> anyhow::Result<HostileClient> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut client = HostileClient { stream, until };
        let mut handshake = Handshake::connect(KEY, Digest::Md5);
        loop {
            match handshake.receive(&client.receive()?) {
                Step::Send(frame) => client.send(&frame)?,
                Step::Done(frame) => {
                    client.send(&frame.context("the client has the last word")?)?;
                    break;
                }
                _ => bail!("the manager takes another key"),
            }
        }
        client.call(&request(None, "accept_connection", ["hostile"])?)?;
        Ok(client)
    }

    fn is_early(&self) -> bool {
        Instant::now() < self.until
    }

    fn send(&mut self, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&framed(body))
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    fn call(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(body)?;
        self.receive()
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

/// `(ident, method, arguments, {})`, as Python's proxies send it.
fn request(
    ident: Option<&str>,
    method: &str,
    arguments: impl Serialize,
) -> Result<Vec<u8>, pickle::Error> {
    let named = BTreeMap::<String, u32>::new();
    pickle::to_vec(&(ident, method, arguments, named))
}

/// Puts large items, whether there is room for them or not.
fn fill(client: &mut HostileClient) -> anyhow::Result<u64> {
    let put = request(Some(FILLED), "put_nowait", ["x".repeat(LARGE)])?;
    let mut offered = 0;
    while client.is_early() && offered < 100 {
        client.call(&put)?;
        offered += 1;
    }
    Ok(offered)
}

/// Asks for large items, and reads none of them.
fn never_read(client: &mut HostileClient) -> anyhow::Result<u64> {
    let get = framed(&request(Some(FILLED), "get_nowait", NOTHING)?);
    client.stream.write_all(&get.repeat(UNREAD))?;
    thread::sleep(SILENCE);
    Ok(UNREAD as u64)
}

/// Leases the honest client's items, and goes without a word.
fn lease_and_vanish(client: &mut HostileClient) -> anyhow::Result<u64> {
    // Neither does it wait for one.
    let lease = request(Some(WORK), "lease", [false])?;
    let mut leased = 0;
    for _ in 0..LEFT_BEHIND {
        let reply = client.call(&lease)?;
        // An error, where there is none to be leased, has no number.
        let number = pickle::from_slice::<(String, (u64, u64))>(&reply);
        leased += u64::from(number.is_ok());
    }
    Ok(leased)
}

/// Sends very many calls before it reads the first reply.
fn pipeline(client: &mut HostileClient) -> anyhow::Result<u64> {
    let size = framed(&request(Some(WORK), "qsize", NOTHING)?);
    let mut calls = 0;
    while client.is_early() && calls < 10 * AT_ONCE {
        client.stream.write_all(&size.repeat(AT_ONCE))?;
        for _ in 0..AT_ONCE {
            client.receive()?;
        }
        calls += AT_ONCE;
    }
    Ok(calls as u64)
}

/// No arguments: to pickle, a unit is None and this is a tuple.
const NOTHING: [u32; 0] = [];
