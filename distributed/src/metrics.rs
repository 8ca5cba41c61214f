//! What a server says of itself, as the text that Prometheus reads.
//!
//! It is made of a [`Status`] at each scrape, so a manager and an engine have the same names, and
//! nothing is counted twice.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::server::queues::DEAD;
use crate::{QueueStatus, Status};

type OfQueue = fn(&QueueStatus) -> u64;

/// What is measured of a queue with a name.
const QUEUE_GAUGES: [(&str, &str, OfQueue); 8] = [
    ("length", "Items that nobody has taken", |queue| queue.len),
    (
        "maxsize",
        "The most items that it takes; 0 for any number",
        |queue| queue.maxsize,
    ),
    (
        "bytes",
        "What its items take, those included that are out or wait to be put",
        |queue| queue.bytes,
    ),
    (
        "max_bytes",
        "The most that they may take; 0 where only the server's limit holds",
        |queue| queue.max_bytes,
    ),
    ("leases", "Items that are out and may come back", |queue| {
        queue.leases
    }),
    (
        "unfinished",
        "Items that were put and not worked off",
        |queue| queue.unfinished,
    ),
    ("waiting_getters", "Clients that wait in get", |queue| {
        queue.waiting
    }),
    ("waiting_putters", "Clients that wait in put", |queue| {
        queue.putters
    }),
];

/// What is counted of it.
const QUEUE_COUNTERS: [(&str, &str, OfQueue); 2] = [
    ("put", "Items that were put", |queue| queue.put),
    (
        "delivered",
        "Items that were handed out, again and again ones included",
        |queue| queue.delivered,
    ),
];

impl Status {
    /// The status as Prometheus reads it, in its text format of version 0.0.4. See
    /// [`watching`](crate::guide::watching) for the names.
    ///
    /// The clients that hold and wait are not in it: they come and go, and each would be a series for
    /// ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use distributed::{Client, Error, Server};
    ///
    /// let server = Server::builder().queue("tasks").serve("127.0.0.1:0", b"abc")?;
    /// Client::connect(server.address(), b"abc")?.queue::<u32>("tasks")?.put(&3)?;
    /// let text = server.status().to_prometheus();
    /// assert!(text.contains("distributed_queue_length{queue=\"tasks\"} 1"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_prometheus(&self) -> String {
        let mut registry = Registry::with_prefix("distributed");
        registry.register_collector(Box::new(Scrape(self.clone())));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a string takes all that is written");
        text
    }
}

/// A status, on its way to Prometheus.
#[derive(Debug)]
struct Scrape(Status);

impl Collector for Scrape {
    fn encode(&self, mut to: DescriptorEncoder) -> fmt::Result {
        let status = &self.0;
        self.server(&mut to)?;
        self.queues(&mut to)?;
        self.locks(&mut to)?;
        if status.calls.buckets.is_empty() {
            return Ok(());
        }
        let seconds = |(bound, count): &(Duration, u64)| (bound.as_secs_f64(), *count);
        let mut buckets: Vec<(f64, u64)> = status.calls.buckets.iter().map(seconds).collect();
        buckets.push((f64::INFINITY, status.calls.over));
        let count = buckets.iter().map(|(_, count)| count).sum();
        let total = status.calls.total.as_secs_f64();
        let help = "How long calls took that waited for no other client";
        let mut family = to.encode_descriptor("call_seconds", help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(total, count, &buckets, None)?;
        let waited = [(None, status.calls.waited)];
        let help = "Calls that waited for another client";
        counters(&mut to, "calls_waited", help, &waited)
    }
}

/// A label, if there is one, and the value that has it.
type Labelled<'l, V = u64> = (Option<(&'static str, &'l str)>, V);

impl Scrape {
    fn server(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let status = &self.0;
        let one = |value: u64| [(None, value)];
        gauges(
            to,
            "connections",
            "Connections that are open",
            &one(status.connections),
        )?;
        if status.max_memory == 0 {
            // An engine tells no more.
            return Ok(());
        }
        let help = "Connections whose clients have proved the key and call queues";
        gauges(to, "clients", help, &one(status.clients))?;
        let help = "What is stored for clients";
        gauges(to, "memory_bytes", help, &one(status.memory))?;
        let help = "The memory that may be used, three quarters of it for what is stored";
        gauges(to, "max_memory_bytes", help, &one(status.max_memory))?;
        let help = "Objects that clients share beside queues";
        gauges(to, "objects", help, &one(status.objects))?;
        // Each is there from the start: an alert on its rate then sees the first one too.
        let reason = |word| {
            let count = status.refused.get(word).copied().unwrap_or(0);
            (Some(("reason", word)), count)
        };
        let refused = ["evicted", "full", "key", "late", "protocol"].map(reason);
        counters(
            to,
            "refused",
            "Clients that were refused, by the reason",
            &refused,
        )
    }

    /// Queues with a name of their own, each with its dead letters; of those that calls have made, how
    /// many there are and what is in them.
    fn queues(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let all = &self.0.queues;
        let dead: BTreeMap<&str, &QueueStatus> = all
            .iter()
            .filter_map(|queue| Some((queue.name.strip_suffix(DEAD)?, queue)))
            .collect();
        let is_named = |name: &str| all.iter().any(|queue| queue.name == name);
        let named: Vec<&QueueStatus> = all
            .iter()
            .filter(|queue| queue.factory.is_empty())
            .filter(|queue| !queue.name.strip_suffix(DEAD).is_some_and(is_named))
            .collect();
        let of = |value: OfQueue| -> Vec<Labelled> {
            let labelled = |queue: &&'_ QueueStatus| value(queue);
            let labels = named.iter().map(|queue| Some(("queue", &*queue.name)));
            labels.zip(named.iter().map(labelled)).collect()
        };
        for (name, help, value) in QUEUE_GAUGES {
            gauges(to, &format!("queue_{name}"), help, &of(value))?;
        }
        for (name, help, value) in QUEUE_COUNTERS {
            counters(to, &format!("queue_{name}"), help, &of(value))?;
        }
        let letters = |value: OfQueue| -> Vec<Labelled> {
            let labelled = |queue: &&'_ QueueStatus| {
                let dead = dead.get(&*queue.name);
                dead.map_or(0, |dead| value(dead))
            };
            let labels = named.iter().map(|queue| Some(("queue", &*queue.name)));
            labels.zip(named.iter().map(labelled)).collect()
        };
        let help = "Dead letters that nobody has taken";
        gauges(to, "queue_dead_letters", help, &letters(|dead| dead.len))?;
        let help = "Items that became dead letters";
        counters(to, "queue_dead_lettered", help, &letters(|dead| dead.put))?;
        if self.0.max_memory == 0 {
            return Ok(());
        }
        let help = "Items that came back";
        counters(
            to,
            "queue_redelivered",
            help,
            &of(|queue| queue.redelivered),
        )?;
        let help = "How long the item is out that is out longest; 0 if none is";
        let seconds = |queue: &&QueueStatus| queue.oldest_lease.unwrap_or_default().as_secs_f64();
        let labels = named.iter().map(|queue| Some(("queue", &*queue.name)));
        let oldest: Vec<Labelled<f64>> = labels.zip(named.iter().map(seconds)).collect();
        gauges(to, "queue_oldest_lease_seconds", help, &oldest)?;
        self.made_queues(to)
    }

    fn made_queues(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let mut made: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
        for queue in self
            .0
            .queues
            .iter()
            .filter(|queue| !queue.factory.is_empty())
        {
            let [count, items, leases] = made.entry(&queue.factory).or_default();
            *count += 1;
            *items += queue.len;
            *leases += queue.leases;
        }
        for (place, (name, help)) in [
            (
                "made_queues",
                "Queues that calls have made, or that have one master's results",
            ),
            ("made_queues_length", "Items in them that nobody has taken"),
            (
                "made_queues_leases",
                "Items of them that are out and may come back",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let of = made
                .iter()
                .map(|(factory, sums)| (Some(("factory", *factory)), sums[place]));
            gauges(to, name, help, &of.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Locks that are held or waited for; those that calls have made under what makes them.
    fn locks(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let mut locks: BTreeMap<&str, (u64, u64, f64)> = BTreeMap::new();
        for hold in self.0.holds.iter().filter(|hold| hold.kind != "item") {
            let (holders, _, longest) = locks.entry(without_ident(&hold.name)).or_default();
            *holders += 1;
            *longest = longest.max(hold.time.as_secs_f64());
        }
        for wait in self.0.waits.iter().filter(|wait| wait.kind == "acquire") {
            let (_, waiting, _) = locks.entry(without_ident(&wait.name)).or_default();
            *waiting += 1;
        }
        let (mut holders, mut waiting, mut longest) = (Vec::new(), Vec::new(), Vec::new());
        for (lock, of) in locks {
            let label = Some(("lock", lock));
            holders.push((label, of.0));
            waiting.push((label, of.1));
            longest.push((label, of.2));
        }
        let help = "Clients that hold a lock or permits of a semaphore";
        gauges(to, "lock_holders", help, &holders)?;
        gauges(to, "lock_waiting", "Clients that wait for it", &waiting)?;
        let help = "How long it is held by the one that holds it longest";
        gauges(to, "lock_held_seconds", help, &longest)
    }
}

/// What makes the object that has this name, or the name if it has one of its own: what calls make
/// is called `Lock-0123456789abcdef`.
fn without_ident(name: &str) -> &str {
    let is_ident = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match name.rsplit_once('-') {
        Some((made_by, ident)) if is_ident(ident) => made_by,
        _ => name,
    }
}

fn gauges<V: EncodeGaugeValue>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    of: &[Labelled<V>],
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    of.iter().try_for_each(|(label, value)| match label {
        Some(label) => family.encode_family(&[*label])?.encode_gauge(value),
        None => family.encode_gauge(value),
    })
}

fn counters(to: &mut DescriptorEncoder, name: &str, help: &str, of: &[Labelled]) -> fmt::Result {
    let no_exemplar = None::<&Exemplar<NoLabelSet, f64>>;
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    of.iter().try_for_each(|(label, value)| match label {
        Some(label) => family
            .encode_family(&[*label])?
            .encode_counter(value, no_exemplar),
        None => family.encode_counter(value, no_exemplar),
    })
}
