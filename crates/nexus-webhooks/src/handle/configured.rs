//! Endpoints of the configuration: judged as a whole, and put in the place of those before them.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use nexus_auth::Secret;
use nexus_core::{Catalogue, Command, PatternSet, Position, Principal, Source};
use nexus_outbound::{Client, Trust};
use nexus_reactors::TargetState;
use uuid::Uuid;

use super::{Endpoints, Live, Origin};
use crate::{
    EndpointsOptions, Error,
    delivery::target_name,
    headers,
    input::EndpointConfig,
    keys::Keys,
    record::{Kept, SealedHeaders, SecretEntry},
    settings::{self, Checked, Rules, StartAt},
};

/// A name has at most this many characters.
const NAME_CHARS_MAX: usize = 64;

/// Why an endpoint is paused that the configuration does not enable.
const CONFIGURED_DISABLED: &str = "the configuration disables it";

/// Something that is wrong with an entry of `[[endpoints]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointProblem {
    /// Where: `endpoints[0].url`.
    pub place: String,
    /// What the rule is.
    pub what: String,
}

/// The endpoints of a configuration, judged, with their secrets.
#[derive(Default)]
pub struct Configured(Vec<Entry>);

struct Entry {
    id: Arc<str>,
    checked: Checked,
    secrets: Vec<Secret>,
}

impl Configured {
    /// Judges every entry. `lookup` gives the secret that a variable holds.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn check(
        entries: &[EndpointConfig],
        lookup: impl Fn(&str) -> Option<Secret>,
        catalogue: &Arc<Catalogue>,
        client: &Client,
        options: &EndpointsOptions,
        now_us: i64,
    ) -> Result<Self, Vec<EndpointProblem>> {
        let rules = Rules {
            catalogue,
            options,
            client,
            trust: Trust::Configured,
            now_us,
        };
        let mut problems = Vec::new();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut checked_entries = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let mut refuse = |member: &str, what: String| {
                let place = format!("endpoints[{index}].{member}");
                problems.push(EndpointProblem { place, what });
            };
            if let Err(why) = check_name(&entry.name) {
                refuse("name", why.into());
            } else if let Some(first) = names.insert(&entry.name, index) {
                refuse("name", format!("endpoints[{first}] has this name already"));
            }
            let secrets = secrets(entry, &lookup, &mut refuse);
            match settings::check(&entry.input(), &rules) {
                Ok(checked) => checked_entries.push(Entry {
                    id: entry.name.as_str().into(),
                    checked,
                    secrets,
                }),
                Err(faults) => {
                    for fault in faults {
                        let member = fault.pointer.trim_start_matches('/').replace('/', ".");
                        refuse(&member, fault.detail);
                    }
                }
            }
        }
        if problems.is_empty() {
            Ok(Self(checked_entries))
        } else {
            Err(problems)
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err("must be 1 to 64 of a-z, 0-9, - and _");
    }
    if Uuid::parse_str(name).is_ok() {
        return Err(
            "must not be a UUID: those are the ids of endpoints that are made over the API",
        );
    }
    Ok(())
}

/// The secrets of an entry, the newest first.
fn secrets(
    entry: &EndpointConfig,
    lookup: impl Fn(&str) -> Option<Secret>,
    refuse: &mut impl FnMut(&str, String),
) -> Vec<Secret> {
    let previous = entry.previous_secret_env.as_deref();
    let variables = [
        ("secret_env", Some(&*entry.secret_env)),
        ("previous_secret_env", previous),
    ];
    let mut secrets = Vec::new();
    for (member, variable) in variables {
        let Some(variable) = variable else { continue };
        if variable.is_empty() {
            refuse(
                member,
                "is required: the variable that holds the secret".into(),
            );
            continue;
        }
        let Some(secret) = lookup(variable) else {
            refuse(member, format!("{variable} is not set"));
            continue;
        };
        match Keys::default().add(&secret, None) {
            Ok(()) => secrets.push(secret),
            Err(error) => refuse(member, format!("{variable}: {error}")),
        }
    }
    secrets
}

impl Endpoints {
    /// Puts the endpoints of a configuration in the place of those of the one before: new ones begin where
    /// they were asked to, those that stay go on, and the others stop. One that comes back goes on where it
    /// stopped.
    ///
    /// # Errors
    /// What the log and the engine say. Everything was judged before, so that nothing of the configuration
    /// itself can be wrong now.
    pub async fn configure(&self, configured: Configured) -> Result<(), Error> {
        let _configuring = self.0.configuring.lock().await;
        let wanted: Vec<Arc<str>> = configured.0.iter().map(|entry| entry.id.clone()).collect();
        let gone: Vec<Arc<str>> = {
            let all = self.0.live.read();
            let of_configuration = all
                .values()
                .filter(|live| live.origin == Origin::Configuration);
            let ids = of_configuration.map(|live| live.id.clone());
            ids.filter(|id| !wanted.contains(id)).collect()
        };
        for id in gone {
            let _turn = self.0.turns.change(&id).await;
            self.0.live.write().remove(&id);
            let name = target_name(&id);
            if self.0.parts.engine.target(&name).is_some() {
                self.0.parts.engine.remove(&name, false).await?;
            }
        }
        for entry in configured.0 {
            let _turn = self.0.turns.change(&entry.id).await;
            let is_enabled = entry.checked.is_enabled;
            let before = self.0.live.read().get(&entry.id).cloned();
            let live = self.put(self.configured(entry).await?);
            let before = before.filter(|before| before.runs_as(&live));
            match before {
                // Nothing of it waits for the deliveries that run.
                Some(before) => {
                    before.keys.store(live.keys.load_full());
                    self.put(Live {
                        keys: before.keys.clone(),
                        ..Live::clone(&live)
                    });
                }
                None => {
                    let is_new = self.0.parts.engine.target(&target_name(&live.id)).is_none();
                    if is_new && !is_enabled {
                        self.begin_paused(&live.id).await?;
                    }
                    self.run(&live).await?;
                }
            }
            self.stand(&live, is_enabled).await?;
        }
        Ok(())
    }

    /// Has an endpoint paused if the configuration says so. What an operator said over the API stays until
    /// the configuration says something else.
    async fn stand(&self, live: &Live, is_enabled: bool) -> Result<(), Error> {
        let engine = &self.0.parts.engine;
        let name = target_name(&live.id);
        let Some(target) = engine.target(&name) else {
            return Ok(());
        };
        let was_configured = target.why.as_deref() == Some(CONFIGURED_DISABLED);
        match (is_enabled, target.state) {
            (false, TargetState::Running) => engine.pause(&name, CONFIGURED_DISABLED).await?,
            (true, TargetState::Paused) if was_configured => engine.resume(&name).await?,
            _ => {}
        }
        Ok(())
    }

    /// Has an endpoint paused that the engine does not run yet.
    async fn begin_paused(&self, id: &str) -> Result<(), Error> {
        let engine = &self.0.parts.engine;
        let command = Command {
            changes: vec![engine.paused(&target_name(id), CONFIGURED_DISABLED)],
            ..Command::default()
        };
        self.log().submit(&Principal::nexus(), command).await?;
        Ok(())
    }

    /// Where an endpoint begins if it never ran. A place that the log has no more is no reason not to start:
    /// for one that ran it does not count.
    async fn first_begin(&self, id: &str, start: StartAt) -> Result<Position, Error> {
        let (why, begin) = match self.begin(start).await {
            Err(Error::Log(why @ nexus_core::Error::Pruned { .. })) => (why, StartAt::Earliest),
            Err(Error::Log(why @ nexus_core::Error::UnknownPosition { .. })) => {
                (why, StartAt::Latest)
            }
            begin => return begin,
        };
        let begin = self.begin(begin).await?;
        tracing::warn!(endpoint = id, %why, %begin, "an endpoint that never ran cannot begin where it is to");
        Ok(begin)
    }

    async fn configured(&self, entry: Entry) -> Result<Live, Error> {
        let Entry {
            id,
            checked,
            secrets,
        } = entry;
        let mut keys = Keys::default();
        for secret in &secrets {
            keys.add(secret, None).map_err(Error::Vault)?;
        }
        let numbers = (1..=secrets.len() as u64).rev();
        let secrets = numbers.map(|number| SecretEntry {
            number,
            created_us: 0,
            expires_us: None,
        });
        let kept = Kept {
            settings: checked.settings,
            owner: Source::nexus().as_str().into(),
            reads: PatternSet::everything()
                .iter()
                .map(|one| one.as_str().to_owned())
                .collect(),
            begin: self.first_begin(&id, checked.start).await?.to_string(),
            secrets: secrets.collect(),
            headers: (!checked.headers.is_empty()).then(|| SealedHeaders {
                version: 0,
                names: headers::names(&checked.headers),
            }),
            created_us: 0,
            changed_us: 0,
        };
        Ok(Live {
            id,
            origin: Origin::Configuration,
            kept,
            revision: 0,
            headers: checked.headers,
            keys: Arc::new(ArcSwap::from_pointee(keys)),
            problem: None,
        })
    }
}

impl Live {
    /// Whether it is delivered to as another is, whatever its secrets are. What a condition means may have
    /// changed with the names of events.
    fn runs_as(&self, other: &Self) -> bool {
        let (own, others) = (&self.kept.settings, &other.kept.settings);
        self.origin == other.origin
            && own == others
            && own.filter.is_none()
            && self.headers == other.headers
    }
}
