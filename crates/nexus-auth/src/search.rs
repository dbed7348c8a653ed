//! Finds whose secret made a signature, with the same work whoever it is.

use crate::{
    rules::{LiveKeys, Node},
    secret::Keys,
    signature::Claim,
};

/// Tries one node after the other, with the same work for each.
pub(crate) struct Search<'r, 'q> {
    pub(crate) claim: Claim<'q>,
    pub(crate) body: &'q [u8],
    pub(crate) now_us: i64,
    pub(crate) decoy: Option<&'r Keys>,
    pub(crate) found: Option<&'r Node>,
}

impl<'r> Search<'r, '_> {
    pub(crate) fn attempt(&mut self, node: Option<&'r Node>) {
        let mut tried = false;
        for live in node.map_or(&[][..], |node| &node.keys) {
            if !is_live(live.not_after_us, self.now_us) {
                continue;
            }
            tried = true;
            let holds = self.claim.holds(&live.keys, self.body);
            if holds && self.found.is_none() {
                self.found = node;
                live.usage.note(self.now_us);
            }
        }
        if !tried && let Some(decoy) = self.decoy {
            std::hint::black_box(self.claim.holds(decoy, self.body));
        }
    }
}

/// The key that lives longest: while a secret is being replaced, the new one.
pub(crate) fn newest(keys: &[LiveKeys], now_us: i64) -> Option<&Keys> {
    let live = keys
        .iter()
        .filter(|live| is_live(live.not_after_us, now_us));
    // Of equals `min_by_key` takes the first that is written.
    let newest = live.min_by_key(|live| std::cmp::Reverse(live.not_after_us.unwrap_or(i64::MAX)));
    newest.map(|live| &live.keys)
}

pub(crate) fn is_live(not_after_us: Option<i64>, now_us: i64) -> bool {
    not_after_us.is_none_or(|not_after_us| now_us <= not_after_us)
}
