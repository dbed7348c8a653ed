//! Finds the addresses of a name, and keeps back those that the guard does not permit.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::guard::{Guard, NOT_PUBLIC};

/// At most this many addresses of a name are tried.
const ADDRESSES_MAX: usize = 16;
/// At most this many names are looked up at once, half of the threads that wait for such things: names
/// whose servers do not answer leave room for the work of others.
const LOOKUPS_MAX: usize = 256;

/// Finds the addresses of a name.
///
/// Whoever implements it decides where a name leads, not what may be reached: the guard checks every
/// address that it gives, each time.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a name, the best first.
    ///
    /// # Errors
    /// When the name is not known, or nobody can be asked.
    fn resolve(&self, name: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// Asks this system, as every program does.
#[derive(Debug)]
pub(crate) struct SystemResolver {
    places: Arc<Semaphore>,
}

impl SystemResolver {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = name.to_owned();
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        // A lookup cannot be stopped: its place is taken until it ends, also if nobody waits for it.
        let lookup = move || {
            let _place = place;
            let found = (name.as_str(), 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        };
        let found = tokio::task::spawn_blocking(lookup).await;
        found.map_err(io::Error::other)?
    }
}

/// What is done with the addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    /// The operator configured the name: all may be tried.
    Nothing,
    /// Those that are not permitted are left out.
    Denied,
    /// One that is not permitted spoils all: somebody else picks the one that is connected to.
    AllIfOneIsDenied,
}

/// A resolver as the HTTP library wants it.
#[derive(Debug)]
pub(crate) struct Filtered<R> {
    resolver: Arc<R>,
    guard: Guard,
    filter: Filter,
}

impl<R: Resolver> Filtered<R> {
    /// For addresses that the operator configured.
    pub(crate) fn open(resolver: &Arc<R>, guard: &Guard) -> Arc<dyn Resolve> {
        Self::shared(resolver, guard, Filter::Nothing)
    }

    /// For foreign addresses.
    pub(crate) fn guarded(resolver: &Arc<R>, guard: &Guard) -> Arc<dyn Resolve> {
        Self::shared(resolver, guard, Filter::Denied)
    }

    /// For foreign addresses that a proxy connects to.
    pub(crate) fn strict(resolver: &Arc<R>, guard: &Guard) -> Arc<dyn Resolve> {
        Self::shared(resolver, guard, Filter::AllIfOneIsDenied)
    }

    fn shared(resolver: &Arc<R>, guard: &Guard, filter: Filter) -> Arc<dyn Resolve> {
        Arc::new(Self {
            resolver: resolver.clone(),
            guard: guard.clone(),
            filter,
        })
    }
}

impl<R: Resolver> Resolve for Filtered<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, guard, filter) = (self.resolver.clone(), self.guard.clone(), self.filter);
        Box::pin(async move {
            let found = resolver.resolve(name.as_str()).await?;
            let kept = keep(&guard, filter, &found)?;
            // The port is that of the address, or the scheme's.
            let addresses = kept.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

fn keep(
    guard: &Guard,
    filter: Filter,
    found: &[IpAddr],
) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let permits = |address: &IpAddr| filter == Filter::Nothing || guard.permits(*address);
    let kept: Vec<_> = found
        .iter()
        .copied()
        .filter(permits)
        .take(ADDRESSES_MAX)
        .collect();
    let is_spoiled = filter == Filter::AllIfOneIsDenied && !found.iter().all(permits);
    if found.is_empty() {
        return Err(Box::new(io::Error::from(io::ErrorKind::NotFound)));
    }
    if kept.is_empty() || is_spoiled {
        return Err(Box::new(NotPermitted));
    }
    Ok(kept)
}

/// The addresses of a name are denied. Found again in the chain of causes of the client's error.
#[derive(Debug)]
pub(crate) struct NotPermitted;

impl NotPermitted {
    /// Whether it is this one, or one of its causes.
    pub(crate) fn is_in(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Self>())
    }
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_PUBLIC)
    }
}

impl std::error::Error for NotPermitted {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutboundOptions;

    fn kept(
        filter: Filter,
        found: &[&str],
    ) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let guard = Guard::new(&OutboundOptions::default());
        let found: Vec<_> = found.iter().map(|text| text.parse().unwrap()).collect();
        keep(&guard, filter, &found)
    }

    #[test]
    fn of_several_addresses_only_the_permitted_are_kept() {
        let mixed = ["127.0.0.1", "1.1.1.1", "::1"];
        let public: IpAddr = "1.1.1.1".parse().unwrap();
        assert_eq!(kept(Filter::Denied, &mixed).unwrap(), [public]);
        assert_eq!(kept(Filter::Nothing, &mixed).unwrap().len(), 3);
        let spoiled = kept(Filter::AllIfOneIsDenied, &mixed).unwrap_err();
        assert!(NotPermitted::is_in(&*spoiled));
        assert!(kept(Filter::AllIfOneIsDenied, &["1.1.1.1"]).is_ok());
        let denied = kept(Filter::Denied, &["10.0.0.1"]).unwrap_err();
        assert!(NotPermitted::is_in(&*denied));
        let unknown = kept(Filter::Denied, &[]).unwrap_err();
        assert!(!NotPermitted::is_in(&*unknown));
    }

    #[test]
    fn a_name_with_countless_addresses_is_tried_at_a_few() {
        let many: Vec<_> = (0..1_000)
            .map(|n| format!("1.1.{}.{}", n / 256, n % 256))
            .collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(kept(Filter::Denied, &many).unwrap().len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn this_system_knows_localhost() {
        let found = SystemResolver::new().resolve("localhost").await.unwrap();
        assert!(
            !found.is_empty() && found.iter().all(IpAddr::is_loopback),
            "{found:?}"
        );
    }
}
