//! How long what a call made lives on without a proxy: one may be inside an item, on its way to a
//! program that will refer to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is kept, from the end of its last proxy or from when the last item was taken that has
/// one inside.
pub(super) const KEPT: Duration = Duration::from_secs(10);
/// How long items keep what nobody refers to. Two queues, each with an item that has a proxy of the
/// other, would keep each other for ever.
pub(super) const INSIDE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What keeps objects alive whose proxies are inside an item.
pub(super) type Holds = Option<Arc<[Arc<()>]>>;

/// Who knows of something that a call made: clients by their proxies, and items with one inside.
#[derive(Debug)]
pub(super) struct Presence {
    /// How many proxies of clients refer to it, as far as clients tell.
    pub(super) references: u64,
    /// Shared with the items that have a proxy of it inside.
    hold: Arc<()>,
    /// Whether an item had one since this was asked for last.
    was_held: bool,
    /// Since when nobody refers to it, if so.
    unused_since: Instant,
    is_listed: bool,
}

impl Presence {
    pub(super) fn new() -> Presence {
        Presence {
            references: 0,
            hold: Arc::default(),
            was_held: false,
            unused_since: Instant::now(),
            is_listed: false,
        }
    }

    /// Python's `decref`. Whether that was the last proxy.
    pub(super) fn unrefer(&mut self) -> bool {
        self.references = self.references.saturating_sub(1);
        self.unused_since = Instant::now();
        self.references == 0
    }

    /// For an item that has a proxy of it inside.
    pub(super) fn hold(&mut self) -> Arc<()> {
        self.was_held = true;
        Arc::clone(&self.hold)
    }

    /// Whether an item has a proxy of it, or had one not long ago.
    pub(super) fn is_inside(&self) -> bool {
        self.was_held || Arc::strong_count(&self.hold) > 1
    }

    /// Until when it is kept, as it stands. Who took an item that had one inside is about to refer
    /// to it, so one that items had is kept once more.
    fn kept_until(&mut self, now: Instant) -> Instant {
        let is_inside = self.is_inside();
        self.was_held = Arc::strong_count(&self.hold) > 1;
        match is_inside && now < self.unused_since + INSIDE_MAX {
            true => now + KEPT,
            false => self.unused_since + KEPT,
        }
    }
}

/// Those without a proxy, each once, and when to look at them.
#[derive(Default)]
pub(super) struct KeptList(VecDeque<(Instant, Arc<str>)>);

impl KeptList {
    pub(super) fn keep(&mut self, ident: Arc<str>, presence: &mut Presence) {
        if !presence.is_listed {
            presence.is_listed = true;
            self.0.push_back((Instant::now() + KEPT, ident));
        }
    }

    /// The ident of the next one that is to go, of these records, each of which has a presence.
    pub(super) fn due<R>(
        &mut self,
        now: Instant,
        records: &mut BTreeMap<Arc<str>, R>,
        presence: fn(&mut R) -> &mut Presence,
    ) -> Option<Arc<str>> {
        while let Some((_, ident)) = self.0.pop_front_if(|(until, _)| *until <= now) {
            let Some(presence) = records.get_mut(&ident).map(presence) else {
                continue;
            };
            if presence.references > 0 {
                presence.is_listed = false;
                continue;
            }
            match presence.kept_until(now) {
                until if until > now => self.0.push_back((until, ident)),
                _ => return Some(ident),
            }
        }
        None
    }

    /// The ident of the one that is kept longest, though its time is not over.
    pub(super) fn first<R>(
        &mut self,
        records: &mut BTreeMap<Arc<str>, R>,
        presence: fn(&mut R) -> &mut Presence,
    ) -> Option<Arc<str>> {
        while let Some((_, ident)) = self.0.pop_front() {
            match records.get_mut(&ident).map(presence) {
                Some(presence) if presence.references == 0 => return Some(ident),
                Some(presence) => presence.is_listed = false,
                None => {}
            }
        }
        None
    }

    /// When to look at the next one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.front().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENT: &str = "Queue-1";

    /// Something that a call made, with a proxy.
    fn made() -> (KeptList, BTreeMap<Arc<str>, Presence>) {
        let mut presence = Presence::new();
        presence.references = 1;
        let records = BTreeMap::from([(IDENT.into(), presence)]);
        (KeptList::default(), records)
    }

    /// The last proxy goes.
    fn unrefer((list, records): &mut (KeptList, BTreeMap<Arc<str>, Presence>)) {
        let presence = records.get_mut(IDENT).expect("it is there");
        assert!(presence.unrefer());
        list.keep(IDENT.into(), presence);
    }

    /// Whether it goes when it is looked at so many times `KEPT` from now.
    fn goes((list, records): &mut (KeptList, BTreeMap<Arc<str>, Presence>), times: u32) -> bool {
        let now = Instant::now() + times * KEPT;
        list.due(now, records, |presence| presence).is_some()
    }

    #[test]
    fn what_an_item_has_a_proxy_of_is_kept_and_for_a_while_after_it() {
        let mut made = made();
        let item = made.1.get_mut(IDENT).map(Presence::hold);
        unrefer(&mut made);
        assert!(!goes(&mut made, 0) && !goes(&mut made, 1) && !goes(&mut made, 2));
        drop(item);
        // Whoever took the item is about to refer to it.
        assert!(!goes(&mut made, 3));
        assert!(goes(&mut made, 4));
    }

    #[test]
    fn what_is_referred_to_again_stays_and_is_on_the_list_once() {
        let mut made = made();
        unrefer(&mut made);
        for _ in 0..1000 {
            made.1.get_mut(IDENT).expect("it is there").references += 1;
            unrefer(&mut made);
        }
        assert_eq!(made.0.0.len(), 1);
        made.1.get_mut(IDENT).expect("it is there").references += 1;
        assert!(!goes(&mut made, 1));
        assert!(made.0.next().is_none());
        unrefer(&mut made);
        assert!(goes(&mut made, 2));
    }

    #[test]
    fn what_keeps_itself_goes_in_the_end_and_sooner_where_room_is_needed() {
        let mut made = made();
        let own = made.1.get_mut(IDENT).map(Presence::hold);
        unrefer(&mut made);
        let day = (INSIDE_MAX.as_secs() / KEPT.as_secs()) as u32;
        assert!(!goes(&mut made, day - 1));
        assert!(goes(&mut made, day + 1));
        let (mut list, mut records) = made;
        let presence = records.get_mut(IDENT).expect("it is there");
        presence.is_listed = false;
        list.keep(IDENT.into(), presence);
        assert!(list.first(&mut records, |presence| presence).is_some());
        drop(own);
    }
}
