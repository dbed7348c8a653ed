//! How many connections there may be, in all and for one address.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// How many connections there may be, for servers that count theirs together. Cheap to clone; every clone is the
/// same.
#[derive(Debug, Clone)]
pub struct Connections(pub(crate) Arc<Admission>);

impl Connections {
    /// So many at once, and so many of one address, trusted proxies excepted; 0 = no limit, for either.
    #[must_use]
    pub fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self(Admission::new(connections_max, per_address_max))
    }
}

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Admission {
    connections_max: usize,
    per_address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Admission {
    /// 0 = no limit, for either.
    pub(crate) fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections_max,
            per_address_max,
            counts: Mutex::default(),
        })
    }

    /// Lets a connection in, or not. `counted` is its address, if its address is limited.
    pub(crate) fn admit(self: &Arc<Self>, counted: Option<IpAddr>) -> Option<Permit> {
        let counted = counted.filter(|_| self.per_address_max > 0);
        let mut counts = self.counts.lock();
        if self.connections_max > 0 && counts.connections >= self.connections_max {
            return None;
        }
        if let Some(address) = counted {
            let of_address = counts.by_address.entry(address).or_default();
            if *of_address >= self.per_address_max {
                return None;
            }
            *of_address += 1;
        }
        counts.connections += 1;
        Some(Permit {
            admission: Arc::clone(self),
            counted,
        })
    }
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    counted: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.connections -= 1;
        if let Some(address) = self.counted
            && let Some(of_address) = counts.by_address.get_mut(&address)
        {
            *of_address -= 1;
            // An entry for every address that ever came would grow without end.
            if *of_address == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = Admission::new(3, 2);
        let one = IpAddr::from([192, 0, 2, 1]);
        let two = IpAddr::from([192, 0, 2, 2]);
        let first = admission.admit(Some(one)).unwrap();
        let _second = admission.admit(Some(one)).unwrap();
        assert!(admission.admit(Some(one)).is_none(), "the address is full");
        let third = admission.admit(Some(two)).unwrap();
        assert!(admission.admit(None).is_none(), "the server is full");
        drop(first);
        drop(third);
        assert!(!admission.counts.lock().by_address.contains_key(&two));
        admission.admit(Some(one)).unwrap();
    }

    #[test]
    fn zero_is_no_limit() {
        let admission = Admission::new(0, 0);
        let address = IpAddr::from([192, 0, 2, 1]);
        let permits: Vec<_> = (0..1000).map(|_| admission.admit(Some(address))).collect();
        assert!(permits.iter().all(Option::is_some));
        assert!(admission.counts.lock().by_address.is_empty());
    }
}
