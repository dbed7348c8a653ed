//! Who is told of what people should know: as the configuration says, also when it changes.

use std::time::Duration;

use nexus_core::Clock;
use nexus_outbound::Client;
use nexus_reactors::{Alert, AlertFormat, AlertLimits, AlertWatch, AlertWebhook, Alerts, Handle};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::config::{self, Address, Config};

/// At most this many alerts wait for one receiver.
const ALERTS_MAX: usize = 64;

/// Alerts and the watch over the engine, as they are configured now.
pub(super) struct Alerting {
    client: Client,
    alerts: Alerts,
    receiver: watch::Sender<Option<AlertWebhook>>,
    /// The watch that runs; another takes its place when the configuration changes.
    watch: Mutex<Option<AbortHandle>>,
}

impl Alerting {
    /// Takes alerts from now on; what is not for anybody stays in the log of the process.
    pub(super) fn start(config: &Config, client: Client, clock: &Clock) -> Self {
        let (alerts, taken) = Alerts::channel(clock.clone());
        let (receiver, changes) = watch::channel(webhook(config, &client));
        tokio::spawn(pass_on(taken, changes));
        Self {
            client,
            alerts,
            receiver,
            watch: Mutex::default(),
        }
    }

    /// What others tell alerts to.
    pub(super) fn alerts(&self) -> Alerts {
        self.alerts.clone()
    }

    /// Begins to watch, as a configuration wants it.
    pub(super) fn watch(&self, config: &Config, engine: &Handle) {
        let limits = &config.alerts;
        let limits = AlertLimits {
            every: Duration::from_millis(limits.interval_ms),
            lag_events: limits.lag_events,
            error_rate: limits.error_rate,
            attempts: limits.attempts,
        };
        let watch = AlertWatch::new(self.alerts.clone(), engine.clone(), limits);
        let running = tokio::spawn(watch.run()).abort_handle();
        if let Some(before) = self.watch.lock().replace(running) {
            before.abort();
        }
    }

    /// Goes on as another configuration wants it.
    pub(super) fn change(&self, from: &Config, to: &Config, engine: &Handle) {
        if from.alerts == to.alerts {
            return;
        }
        self.receiver.send_replace(webhook(to, &self.client));
        self.watch(to, engine);
    }
}

/// Hands alerts to whoever is to be told now; ends with those that tell.
async fn pass_on(
    mut alerts: mpsc::Receiver<Alert>,
    mut changes: watch::Receiver<Option<AlertWebhook>>,
) {
    let mut receiver = serve(&mut changes);
    loop {
        tokio::select! {
            alert = alerts.recv() => match (alert, &receiver) {
                (None, _) => return,
                (Some(_), None) => {}
                // It is in the log; whoever is told so slowly has enough to read.
                (Some(alert), Some(receiver)) => if let Err(error) = receiver.try_send(alert) {
                    tracing::warn!(%error, "an alert could not be handed over");
                },
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                receiver = serve(&mut changes);
            }
        }
    }
}

/// Starts the receiver of the moment, if there is one.
fn serve(changes: &mut watch::Receiver<Option<AlertWebhook>>) -> Option<mpsc::Sender<Alert>> {
    let webhook = changes.borrow_and_update().clone()?;
    let (sender, alerts) = mpsc::channel(ALERTS_MAX);
    tokio::spawn(webhook.run(alerts));
    Some(sender)
}

fn webhook(config: &Config, client: &Client) -> Option<AlertWebhook> {
    let address = config.alerts.url.as_ref()?;
    let format = format(config, address);
    Some(AlertWebhook::new(
        client.clone(),
        address.url().clone(),
        format,
    ))
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
