//! Nodes of NATS: a cluster on loopback to work with, and servers for chaos to kill or cut off.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::nats_server::{self, NatsServer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Exit;
use crate::cli::{ClusterTask, Lang};
use crate::output::say;

const NODES: u16 = 3;
const LOOPBACK: &str = "127.0.0.1";
/// Where clients and nodes find the cluster that `cargo xtask cluster` starts: from here upwards.
const CLIENT_PORT: u16 = 4222;
const ROUTE_PORT: u16 = 6222;
/// How long a node may take to say that it is ready, and a cluster that it has a leader.
const DEADLINE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);

/// Where a node listens.
pub(crate) struct NodeSite {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For the other nodes.
    pub(crate) route: u16,
    /// The process in whose network it is, where that is not ours.
    pub(crate) network: Option<i32>,
}

/// One server, with all that it has in a folder.
pub(crate) struct Node {
    folder: PathBuf,
    pub(crate) host: String,
    pub(crate) port: u16,
    network: Option<i32>,
}

impl NodeSite {
    /// Three on loopback.
    pub(crate) fn local(ports: &[u16], routes: &[u16]) -> Vec<NodeSite> {
        let both = ports.iter().zip(routes);
        both.map(|(port, route)| NodeSite {
            host: LOOPBACK.to_string(),
            port: *port,
            route: *route,
            network: None,
        })
        .collect()
    }
}

impl Node {
    /// Configures a server of its own.
    pub(crate) fn single(folder: &Path) -> anyhow::Result<Node> {
        let place = NodeSite {
            host: LOOPBACK.to_string(),
            port: free_ports(1)?[0],
            route: 0,
            network: None,
        };
        Node::configure(folder, place, "")
    }

    /// Configures the nodes of a cluster.
    pub(crate) fn cluster(folder: &Path, places: Vec<NodeSite>) -> anyhow::Result<Vec<Node>> {
        let all: Vec<String> = places
            .iter()
            .map(|place| format!("nats://{}:{}", place.host, place.route))
            .collect();
        let nodes = places.into_iter().enumerate();
        nodes
            .map(|(number, place)| {
                let cluster = format!(
                    "server_name: node{n}\ncluster {{ name: local, listen: \"{}:{}\", \
                     routes: [{}] }}\n",
                    place.host,
                    place.route,
                    all.join(", "),
                    n = number + 1,
                );
                Node::configure(&folder.join(format!("node{}", number + 1)), place, &cluster)
            })
            .collect()
    }

    fn configure(folder: &Path, place: NodeSite, cluster: &str) -> anyhow::Result<Node> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let NodeSite {
            host,
            port,
            network,
            ..
        } = place;
        let configuration = format!(
            "listen: \"{host}:{port}\"\nhttp: \"{host}:-1\"\njetstream {{ store_dir: \"{}\" }}\n{cluster}",
            folder.display()
        );
        let file = folder.join("nats.conf");
        fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
        Ok(Node {
            folder: folder.to_path_buf(),
            host,
            port,
            network,
        })
    }

    /// Starts it in the background, and waits until it takes clients.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let mut command = match self.network {
            None => Command::new(nats_server::binary()),
            Some(process) => within(process, nats_server::binary()),
        };
        command.arg("-c").arg(self.folder.join("nats.conf"));
        let server = NatsServer::start(command.process_group(0), &self.folder.join("log"))
            .with_context(|| format!("start the node on port {}", self.port))?;
        let mut program = server.program;
        fs::write(self.folder.join("pid"), program.pid().to_string())
            .context("note a node's pid")?;
        // Its end is taken for as long as we run; afterwards that is the system's.
        thread::spawn(move || program.child.wait());
        Ok(())
    }

    fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Its process, as long as that is there and is really the node.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let pid: i32 = fs::read_to_string(self.folder.join("pid"))
            .ok()?
            .parse()
            .ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let folder = self.folder.to_str()?.as_bytes();
        let ours = command.windows(folder.len()).any(|window| window == folder);
        ours.then(|| Pid::from_raw(pid))
    }

    /// What it says at a path of its monitor, with the head of the answer.
    fn ask(&self, path: &str) -> anyhow::Result<String> {
        let log = self.log();
        let address = log.split_once("http monitor on ");
        let address = address.and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
        let address: SocketAddr =
            address.context("the node does not say where it tells of itself")?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn ask_for_streams(&self) -> anyhow::Result<Value> {
        let answer = self.ask("/jsz?consumers=true")?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok(serde_json::from_str(body)?)
    }

    /// Whether it has all that the others of its cluster have.
    pub(crate) fn is_current(&self) -> bool {
        let answer = self.ask("/healthz");
        answer.is_ok_and(|answer| answer.contains(" 200 OK"))
    }

    /// Ends it by a signal, and waits until it is gone.
    pub(crate) fn end(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        kill(pid, signal).with_context(|| format!("end the node on port {}", self.port))?;
        let deadline = Instant::now() + DEADLINE;
        while self.pid().is_some() {
            ensure!(
                Instant::now() < deadline,
                "the node on port {} does not end",
                self.port
            );
            thread::sleep(TICK);
        }
        Ok(())
    }
}

/// A program in the network of a process.
pub(crate) fn within(process: i32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    let process = process.to_string();
    command.args(["--net", "--target", &process]).arg(program);
    command
}

/// What each node says of the streams that it has and of their consumers, a line for each.
pub(crate) fn said_of_streams(nodes: &[Node]) -> Vec<String> {
    let mut lines = Vec::new();
    for node in nodes {
        let place = format!("{}:{}", node.host, node.port);
        let told = match node.ask_for_streams() {
            Ok(told) => told,
            Err(error) => {
                lines.push(format!("{place}: {error:#}"));
                continue;
            }
        };
        let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
        let streams = told["account_details"][0]["stream_detail"].as_array();
        for stream in streams.into_iter().flatten() {
            let name = text(&stream["name"]);
            lines.push(format!(
                "{place}: {name} has {} items, and is led by {}",
                stream["state"]["messages"],
                text(&stream["cluster"]["leader"]),
            ));
            for consumer in stream["consumer_detail"].as_array().into_iter().flatten() {
                lines.push(format!(
                    "{place}: of {name} {} wait for {}, and {} are out; it is led by {}",
                    consumer["num_pending"],
                    text(&consumer["name"]),
                    consumer["num_ack_pending"],
                    text(&consumer["cluster"]["leader"]),
                ));
            }
        }
    }
    lines
}

/// The URL of some nodes.
pub(crate) fn url(nodes: &[Node]) -> String {
    let hosts: Vec<String> = nodes
        .iter()
        .map(|node| format!("{}:{}", node.host, node.port))
        .collect();
    format!("nats://{}", hosts.join(","))
}

/// Ports on which nobody listens at the moment.
pub(crate) fn free_ports(number: usize) -> anyhow::Result<Vec<u16>> {
    let bind = |_| TcpListener::bind("127.0.0.1:0");
    let listeners = (0..number).map(bind).collect::<Result<Vec<_>, _>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

/// Waits until a cluster has found itself; until then it answers no question about queues.
pub(crate) fn wait_for_leader(nodes: &[Node]) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let has_leader = |node: &Node| node.log().contains("cluster new metadata leader");
    while !nodes.iter().any(has_leader) {
        if Instant::now() > deadline {
            bail!("the cluster has no leader after {} s", DEADLINE.as_secs());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// `cargo xtask cluster`: three nodes, whose data outlives them.
pub(crate) fn cluster(task: ClusterTask, lang: Lang) -> anyhow::Result<Exit> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cluster");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let folder = folder.canonicalize().context("find target/cluster")?;
    let ports: Vec<u16> = (0..NODES).map(|node| CLIENT_PORT + node).collect();
    let routes: Vec<u16> = (0..NODES).map(|node| ROUTE_PORT + node).collect();
    let nodes = Node::cluster(&folder, NodeSite::local(&ports, &routes))?;
    match task {
        ClusterTask::Up => {
            for node in nodes.iter().filter(|node| node.pid().is_none()) {
                node.start()?;
            }
            wait_for_leader(&nodes)?;
            say!("{}", url(&nodes))?;
        }
        ClusterTask::Down => {
            for node in &nodes {
                node.end(Signal::SIGTERM)?;
            }
        }
        ClusterTask::Status => {
            for (number, node) in nodes.iter().enumerate() {
                let (name, port) = (format!("node{}", number + 1), node.port);
                match (node.pid(), lang) {
                    (Some(pid), Lang::En) => say!("{name} on port {port}: runs, process {pid}")?,
                    (Some(pid), Lang::Zh) => say!("{name}，端口 {port}：在运行，进程 {pid}")?,
                    (None, Lang::En) => say!("{name} on port {port}: is down")?,
                    (None, Lang::Zh) => say!("{name}，端口 {port}：没有运行")?,
                }
            }
            if nodes.iter().any(|node| node.pid().is_none()) {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Held)
}
