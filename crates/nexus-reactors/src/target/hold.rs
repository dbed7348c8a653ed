//! Holding: events that cannot run yet, because of another one or of what happened before.

use std::sync::Arc;

use nexus_core::{Blocked, Event};

use super::{
    Job, Target,
    settle::{Fate, Settle},
};
use crate::{
    attempt::Failure,
    delivery::{self, Delivery},
    lanes::Turn,
};

impl Target {
    /// The delivery behind which events with a key are given up, if that is what they are to do.
    pub(super) fn parks_behind(&self, key: &str) -> Option<u64> {
        if self.runner.options.on_blocked == Blocked::Wait {
            return None;
        }
        self.lanes.failed(key)
    }

    /// The event cannot run at all.
    pub(super) fn give_up(&mut self, event: &Event, key: Option<Arc<str>>, failure: &Failure) {
        let mut settle = Settle::new(event.seq.get());
        settle.delivery = Some(self.failed(event, key, None, failure, None));
        self.finish(settle);
    }

    /// The event is held up by a delivery: it waits as a delivery, or is given up if that one failed and the
    /// target wants it so.
    pub(super) fn hold(&mut self, event: &Event, key: Option<&Arc<str>>, once: Option<Arc<str>>) {
        let Some(before) = key.and_then(|key| self.parks_behind(key)) else {
            return self.defer(event, key, once);
        };
        let now_us = self.runner.log.clock().now_us();
        let url = self.runner.target_url();
        let mut delivery = Delivery::new(event, key.cloned(), once, url, now_us);
        let before = delivery::key(&self.status.name, before).key;
        delivery.note(
            &format!("not begun: it is behind {before}, which failed"),
            now_us,
        );
        delivery.failed_us = Some(now_us);
        let mut settle = Settle::new(event.seq.get());
        settle.delivery = Some((delivery, Fate::Dead));
        self.finish(settle);
    }

    /// The event waits behind a delivery, as a delivery.
    pub(super) fn defer(&mut self, event: &Event, key: Option<&Arc<str>>, once: Option<Arc<str>>) {
        self.defer_as(event, key, once, 0);
    }

    /// The event may have been running when the process before ended.
    pub(super) fn suspect(&mut self, event: &Event) {
        let key = self.lane_of(event);
        match self.runner.once_key(event) {
            Ok(once) => self.defer_as(event, key.as_ref(), once, 1),
            Err(failure) => self.give_up(event, key, &failure),
        }
    }

    fn defer_as(
        &mut self,
        event: &Event,
        key: Option<&Arc<str>>,
        once: Option<Arc<str>>,
        crashes: u32,
    ) {
        let seq = event.seq.get();
        let now_us = self.runner.log.clock().now_us();
        let url = self.runner.target_url();
        let mut delivery = Delivery::new(event, key.cloned(), once, url, now_us);
        delivery.crashes = crashes;
        let fate = Fate::Waiting {
            due_us: now_us,
            is_suspect: crashes > 0,
        };
        let mut settle = Settle::new(seq);
        settle.delivery = Some((delivery, fate));
        self.finish(settle);
        if let Some(key) = key {
            self.block(key, seq, false);
        }
    }

    /// The event blocks its lane: those that wait behind it in memory cannot stay there.
    pub(super) fn block(&mut self, key: &Arc<str>, seq: u64, has_failed: bool) {
        for behind in self.lanes.block(key, seq, has_failed) {
            if let Some(Job {
                event: Some(event),
                once,
                ..
            }) = self.jobs.remove(&behind)
            {
                self.hold(&event, Some(key), once);
            }
        }
    }

    /// What ran under a key has ended: the next has its turn.
    pub(super) fn leave_lane(&mut self, key: &str) {
        match self.lanes.leave(key) {
            Some(Turn::Event(seq)) => self.resumed.push_back(seq),
            Some(Turn::Delivery(seq)) => self.waiting.arm(seq),
            None => {}
        }
    }
}
