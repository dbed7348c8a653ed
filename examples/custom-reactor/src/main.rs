//! Nexus with a reactor of your own: everything else is as in `nexusd dev`.
//!
//! `cargo run --release -p example-custom-reactor`

use std::sync::Arc;

use example_custom_reactor::VerifyPayer;
use nexus::{
    App, Error,
    config::{Config, Mode},
    environment::Environment,
};
use nexus_core::Catalogue;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let environment = Environment::new(std::env::vars_os());
    let config = Config::from_environment(Mode::Dev, environment)?;
    let reactor = VerifyPayer::new(Arc::new(Catalogue::known()));
    App::builder(config).reactor(reactor).run().await
}
