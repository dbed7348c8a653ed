//! The reactors that ship with Nexus, and the engine, as the configuration wants them.

use std::time::Duration;

use nexus_auth::Auth;
use nexus_core::{Clock, Log, ReactorOptions, RetrySchedule, SharedReactor};
use nexus_outbound::{Client, OutboundOptions};
use nexus_reactors::{
    AlertFormat, AlertWebhook, Alerts, Directory, Engine, EngineOptions, MintToNotify,
    NodeAddresses, Nodes, PaymentToMint,
};

use crate::{
    Error,
    config::{self, Address, Config, Mode},
};

const FACTORY: &str = "smart-factory";
const NEOBOT: &str = "neobot";

/// Starts the engine with the shipped reactors and those of the embedder.
pub(super) async fn start(
    config: &Config,
    log: &Log,
    auth: &Auth,
    clock: &Clock,
    own: Vec<SharedReactor>,
) -> Result<Engine, Error> {
    let client = Client::new(&outbound(config)).map_err(Error::Outbound)?;
    let mut reactors = shipped(config, &client, auth, clock);
    reactors.extend(own);
    let alerts = alerts(config, client, clock);
    Engine::start(log.clone(), reactors, EngineOptions::default(), alerts)
        .await
        .map_err(Error::Reactors)
}

fn outbound(config: &Config) -> OutboundOptions {
    OutboundOptions {
        allow_cidrs: config.outbound.allow_cidrs.clone(),
        allow_loopback: config.mode == Mode::Dev,
        connect_timeout_ms: config.outbound.connect_timeout_ms,
        proxy: config
            .outbound
            .proxy
            .as_ref()
            .map(|address| address.url().clone()),
        no_proxy: config.outbound.no_proxy.clone(),
        ..OutboundOptions::default()
    }
}

fn shipped(config: &Config, client: &Client, auth: &Auth, clock: &Clock) -> Vec<SharedReactor> {
    let settings = &config.reactors;
    let retry = RetrySchedule {
        attempts: settings.retry.attempts,
        first: Duration::from_millis(settings.retry.first_ms),
        factor: settings.retry.factor,
        jitter: settings.retry.jitter,
        steps: None,
    };
    let with_retry = |options: &mut ReactorOptions| options.retry = retry;
    let nodes = Nodes::new(addresses(config), client.clone(), clock.clone());
    let mut reactors = Vec::new();
    if settings.payment_to_mint {
        let key = settings.factory_key.clone();
        let mint = PaymentToMint::new(client.clone(), nodes.clone(), key, clock.clone());
        reactors.push(mint.with_options(with_retry).shared());
    }
    if settings.mint_to_notify {
        let both = MintToNotify::both(client, &nodes, auth, clock);
        reactors.extend(both.map(|notify| notify.with_options(with_retry).shared()));
    }
    reactors
}

/// Where nodes are: what their entries say, else the directory, else `<NODE>_API_URL`.
fn addresses(config: &Config) -> NodeAddresses {
    let settings = &config.reactors;
    let url = |address: &Address| address.url().clone();
    let entries = config
        .nodes
        .iter()
        .filter_map(|node| Some((node.id.clone(), url(node.url.as_ref()?))));
    let factory = settings
        .factory_url
        .iter()
        .map(|address| (FACTORY.to_owned(), url(address)));
    let neobot = settings
        .registry_url
        .iter()
        .map(|address| (NEOBOT.to_owned(), url(address)));
    let named = settings
        .node_urls
        .iter()
        .map(|(id, address)| (id.clone(), url(address)));
    NodeAddresses {
        configured: factory.chain(entries).collect(),
        directory: settings.registry_url.as_ref().map(|address| Directory {
            url: url(address),
            key: settings.registry_key.clone(),
        }),
        fallback: neobot.chain(named).collect(),
    }
}

/// Tells people where the configuration says; the task ends with the engine.
fn alerts(config: &Config, client: Client, clock: &Clock) -> Alerts {
    let Some(address) = &config.alerts.url else {
        return Alerts::none();
    };
    let (alerts, receiver) = Alerts::channel(clock.clone());
    let webhook = AlertWebhook::new(client, address.url().clone(), format(config, address));
    tokio::spawn(webhook.run(receiver));
    alerts
}

fn format(config: &Config, address: &Address) -> AlertFormat {
    let host = address.url().host_str().unwrap_or_default();
    let is_at = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    match config.alerts.format {
        config::AlertFormat::Discord => AlertFormat::Discord,
        config::AlertFormat::Slack => AlertFormat::Slack,
        config::AlertFormat::Json => AlertFormat::Json,
        config::AlertFormat::Auto if is_at("discord.com") || is_at("discordapp.com") => {
            AlertFormat::Discord
        }
        config::AlertFormat::Auto if is_at("slack.com") => AlertFormat::Slack,
        config::AlertFormat::Auto => AlertFormat::Json,
    }
}
