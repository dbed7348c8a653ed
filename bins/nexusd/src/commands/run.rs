//! `nexusd dev` and `nexusd serve`: build the application and run it until a signal.

use std::{io::Write, time::Duration};

use nexus::{
    App, Error, Stop,
    config::{Config, Mode, Sources},
    environment::Environment,
    telemetry,
};

use super::{Failure, load_from, open_files, runtime, sources};
use crate::arguments::{DevOptions, ServeOptions};

/// Five seconds beyond the time in which everything should have ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn dev(options: &DevOptions, environment: &Environment) -> Result<(), Failure> {
    let sources = sources(Mode::Dev, options.config.as_ref(), environment);
    let loaded = load_from(&sources)?;
    run(&loaded.config, sources, |app| {
        // Nobody has to read it.
        let _ = writeln!(std::io::stdout(), "{}", welcome(app, &loaded.config));
    })
}

pub(crate) fn serve(options: &ServeOptions, environment: &Environment) -> Result<(), Failure> {
    let sources = sources(Mode::Serve, options.config.as_ref(), environment);
    let loaded = load_from(&sources)?;
    run(&loaded.config, sources, |_| {})
}

fn run(config: &Config, sources: Sources, ready: impl FnOnce(&App)) -> Result<(), Failure> {
    telemetry::init(&config.log).map_err(Error::Telemetry)?;
    open_files::allow(config.limits.connections as u64);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let building = App::builder(config.clone()).sources(sources).build();
        let Some(app) = stop.unless_stopped(building).await? else {
            return Ok(());
        };
        tracing::info!(
            address = %app.local_addr(),
            agents = %agents_root(&app),
            head = %app.log().head(),
            "ready"
        );
        ready(&app);
        stop.run(app).await
    });
    // Work that ignores its end must not keep the process.
    runtime.shutdown_timeout(STOP_TIMEOUT.saturating_sub(nexus::DRAIN_TIMEOUT));
    Ok(result?)
}

/// What the addresses of the face for agents begin with.
fn agents_root(app: &App) -> String {
    match app.agents_addr() {
        Some(address) => format!("http://{address}"),
        None => format!("http://{}/agents", app.local_addr()),
    }
}

/// What a person who just started Nexus pastes next.
fn welcome(app: &App, config: &Config) -> String {
    let address = app.local_addr();
    let agents = agents_root(app);
    let secret = config
        .auth
        .secret
        .as_ref()
        .map(|secret| secret.expose())
        .unwrap_or_default();
    format!(
        r#"
  Nexus listens on http://{address} and keeps its log in {data}.

  Watch events arrive (in a second terminal):

    cargo run --release -p nexusd -- tail --address {address}

  Send a signed event (in a third):

    SECRET='{secret}'
    BODY='{{"event":"PAYMENT_RECEIVED","payload":{{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}}}}'
    SIGNATURE=$(printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d' ' -f1)
    curl -s -w '\n' http://{address}/events -H "Content-Type: application/json" \
         -H "X-Nexus-Signature: $SIGNATURE" -d "$BODY"

  Read the log back:

    curl -s -w '\n' 'http://{address}/events/log?limit=5' -H "Authorization: Bearer $SECRET"

  Agents work at {agents}. Claim something as one of them (nobody else gets it), and see who does what:

    curl -s -w '\n' {agents}/work/claim -H "Content-Type: application/json" \
         -d '{{"session_id":"session-3","work_id":"deploy-dashboard","work_description":"Deploy the dashboard"}}'
    curl -s -w '\n' {agents}/work/claimed

  Stop with Ctrl-C.
"#,
        data = app.data_dir().display(),
    )
}
