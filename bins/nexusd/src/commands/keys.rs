//! `nexusd keys`: make secrets and keys, and seal everything anew after a key was replaced.

use std::path::PathBuf;

use nexus::{
    EXIT_LOCKED, Random, Secret, VaultKey,
    config::{Config, Mode},
    environment::Environment,
};
use serde::Deserialize;

use super::{
    Failure,
    healthcheck::local_address,
    load,
    operator::{post, token},
    runtime,
};
use crate::arguments::{ForgetOptions, KeysCommand, KeysOptions, RotateOptions};

pub(crate) fn keys(options: &KeysOptions, environment: &Environment) -> Result<(), Failure> {
    match &options.command {
        KeysCommand::New { standard } => {
            let random = Random::system();
            let secret = if *standard {
                Secret::generate_standard(&random)
            } else {
                Secret::generate(&random)
            };
            println!("{}", secret.expose());
        }
        KeysCommand::Generate => {
            let key = VaultKey::generate(&Random::system());
            println!("{}", key.to_hex().expose());
        }
        KeysCommand::Rotate(options) => rotate(options, environment)?,
        KeysCommand::Forget(options) => forget(options, environment)?,
    }
    Ok(())
}

/// What a rotation came to.
#[derive(Deserialize)]
struct Rotated {
    rewrapped: u64,
    sealed: u64,
    key_id: String,
}

#[derive(Deserialize)]
struct Enveloped {
    data: Rotated,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Does it here, or asks the daemon that holds the data.
fn rotate(options: &RotateOptions, environment: &Environment) -> Result<(), Failure> {
    let config = existing(options.config.as_ref(), environment)?;
    let rotated = match here(&config) {
        Err(failure) if failure.exit_code() == EXIT_LOCKED => {
            let address = options
                .address
                .clone()
                .unwrap_or_else(|| local_address(options.config.as_ref(), environment));
            ask(&address, environment)?
        }
        done => done?,
    };
    let Rotated {
        rewrapped,
        sealed,
        key_id,
    } = rotated;
    let configured = config.vault.key.as_ref().map(|key| key.id().to_string());
    if configured.as_ref() != Some(&key_id) {
        let detail = format!(
            "the daemon seals with the key {key_id}, which is not the configured one: let it reload its \
             configuration (SIGHUP), then ask again"
        );
        return Err(Failure::Refused { detail });
    }
    println!("{rewrapped} secrets were sealed anew, and all {sealed} are under the key {key_id}");
    Ok(())
}

fn here(config: &Config) -> Result<Rotated, Failure> {
    let rotation = runtime()?.block_on(nexus::vault::rotate(config))?;
    Ok(Rotated {
        rewrapped: rotation.rewrapped as u64,
        sealed: rotation.sealed as u64,
        key_id: rotation.key_id.to_string(),
    })
}

/// What a daemon answers that holds the data.
fn ask(address: &str, environment: &Environment) -> Result<Rotated, Failure> {
    let answer = post(address, "/api/v1/vault/rotate", &token(environment)?)?;
    if answer.status == 200
        && let Ok(answer) = serde_json::from_str::<Enveloped>(&answer.body)
    {
        return Ok(answer.data);
    }
    let said = serde_json::from_str::<Problem>(&answer.body);
    let said = said.map_or(answer.body, |problem| problem.detail);
    let status = answer.status;
    let detail = format!("the daemon at {address} refuses ({status}): {said}");
    Err(Failure::Refused { detail })
}

fn forget(options: &ForgetOptions, environment: &Environment) -> Result<(), Failure> {
    if !options.remove_every_secret {
        return Err(Failure::Unconfirmed {
            what: "every secret that is sealed in the log will be gone, for good".to_owned(),
            flag: "--remove-every-secret",
        });
    }
    let config = existing(options.config.as_ref(), environment)?;
    let forgotten = runtime()?.block_on(nexus::vault::forget(&config))?;
    println!("{forgotten} secrets are gone; the next start may use any key");
    Ok(())
}

/// The configuration of a log that is there: none is made for these commands.
fn existing(file: Option<&PathBuf>, environment: &Environment) -> Result<Config, Failure> {
    let config = load(Mode::Serve, file, environment)?.config;
    let path = config.storage.database_path();
    if path.exists() {
        return Ok(config);
    }
    let detail = format!("there is no log at {}", path.display());
    Err(Failure::Refused { detail })
}
