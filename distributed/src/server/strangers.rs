//! Those who have not proved that they know the key.
//!
//! They have places of their own, so that they take none of those who have proved it. When all of
//! these are taken, the next newcomer has the place of the one who has been silent longest, of the
//! address that has the most: so whoever opens connections fast and says nothing drives out his own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use super::listener::Peer;

/// How many of them there may be: as many as the clients of a cluster that start at one moment.
const STRANGERS_MAX: usize = 1024;
/// How long each may keep its place at least. Meanwhile newcomers wait to be accepted: so it is short,
/// or whoever is fast enough would fill the backlog.
const GRACE: Duration = Duration::from_millis(50);

/// All who are there and have not proved the key.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    table: Mutex<StrangerTable>,
    /// Told when one has left.
    left: Notify,
}

#[derive(Debug, Default)]
struct StrangerTable {
    /// Of each address its strangers, in the order in which they came.
    places: BTreeMap<Origin, BTreeMap<u64, StrangerPlace>>,
    count: usize,
    /// The last number given.
    last: u64,
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Of IPv6 the network, of which one customer has all addresses.
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
}

#[derive(Debug)]
struct StrangerPlace {
    since: Instant,
    evict: oneshot::Sender<()>,
}

/// One of them; dropped, it has left.
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    origin: Origin,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

impl Strangers {
    /// Gives a newcomer a place, and waits until there may be one: meanwhile others wait to be
    /// accepted.
    pub(super) async fn admit(self: &Arc<Strangers>, origin: Origin) -> Stranger {
        loop {
            let admitted = {
                let mut table = self.table.lock().unwrap();
                table.admit(origin, Instant::now())
            };
            let until = match admitted {
                Ok((number, evicted)) => {
                    return Stranger {
                        strangers: Arc::clone(self),
                        origin,
                        number,
                        evicted,
                    };
                }
                Err(until) => until,
            };
            tokio::select! {
                () = sleep_until(until.into()) => {}
                () = self.left.notified() => {}
            }
        }
    }

    /// Ends the one that is to be ended next, if it has had its time.
    pub(super) fn evict(&self) {
        let mut table = self.table.lock().unwrap();
        let _ = table.evict(Instant::now());
    }
}

impl StrangerTable {
    /// A place, or when to ask again.
    fn admit(
        &mut self,
        origin: Origin,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<()>), Instant> {
        if self.count >= STRANGERS_MAX {
            self.evict(now)?;
        }
        self.last += 1;
        self.count += 1;
        let (evict, evicted) = oneshot::channel();
        let places = self.places.entry(origin).or_default();
        places.insert(self.last, StrangerPlace { since: now, evict });
        Ok((self.last, evicted))
    }

    /// Ends the oldest of the address that has the most, or says when that will have had its time.
    fn evict(&mut self, now: Instant) -> Result<(), Instant> {
        let most = self.places.iter().max_by_key(|(_, places)| places.len());
        let oldest = most.and_then(|(origin, places)| {
            let (number, place) = places.first_key_value()?;
            Some((*origin, *number, place.since + GRACE))
        });
        let Some((origin, number, until)) = oldest else {
            return Ok(());
        };
        if until > now {
            return Err(until);
        }
        if let Some(place) = self.remove(origin, number) {
            let _ = place.evict.send(());
        }
        Ok(())
    }

    fn remove(&mut self, origin: Origin, number: u64) -> Option<StrangerPlace> {
        let places = self.places.get_mut(&origin)?;
        let place = places.remove(&number)?;
        if places.is_empty() {
            self.places.remove(&origin);
        }
        self.count -= 1;
        Some(place)
    }
}

impl Stranger {
    /// Returns when it has to leave.
    pub(super) async fn evicted(&mut self) {
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut table = self.strangers.table.lock().unwrap();
        table.remove(self.origin, self.number);
        self.strangers.left.notify_one();
    }
}

impl From<Peer> for Origin {
    fn from(peer: Peer) -> Origin {
        match peer {
            Peer::Remote(address) => address.ip().into(),
            Peer::Local { user, .. } => Origin::User(user),
        }
    }
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Origin {
        Origin::Network(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_floods_drives_out_his_own_and_nobody_before_his_time() {
        let [flood, honest] =
            [[10, 0, 0, 1], [10, 0, 0, 2]].map(|octets| IpAddr::from(octets).into());
        let mut table = StrangerTable::default();
        let start = Instant::now();
        let (_, mut stays) = table.admit(honest, start).expect("there is room");
        let mut flooding: Vec<_> = (1..STRANGERS_MAX)
            .map(|_| table.admit(flood, start).expect("there is room").1)
            .collect();
        assert_eq!(table.admit(honest, start).err(), Some(start + GRACE));
        let now = start + GRACE;
        for origin in [honest, flood, flood] {
            table.admit(origin, now).expect("one has had its time");
        }
        assert_eq!(table.count, STRANGERS_MAX);
        let evicted = flooding.iter_mut().map(|one| one.try_recv().is_ok());
        let evicted: Vec<bool> = evicted.collect();
        assert_eq!(evicted[..4], [true, true, true, false]);
        assert!(stays.try_recv().is_err());
    }

    #[test]
    fn an_address_is_that_of_one_customer() {
        let same = |one: &str, other: &str| {
            let parse = |text: &str| Origin::from(text.parse::<IpAddr>().expect("an address"));
            parse(one) == parse(other)
        };
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
    }
}
