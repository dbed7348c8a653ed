//! Endpoints of the configuration: judged as a whole, read only, replaced by a reload.

use std::sync::Arc;

use nexus_auth::Secret;
use nexus_core::Catalogue;
use nexus_testkit::receiver::Receiver;
use nexus_webhooks::{Configured, EndpointConfig, EndpointProblem, EndpointsOptions, Error};

use crate::support::{NOW_US, World, operator, until};

fn lookup(variable: &str) -> Option<Secret> {
    match variable {
        "BILLING_SECRET" => Some(Secret::new("whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXc=")),
        "BROKEN_SECRET" => Some(Secret::new("whsec_no*base64")),
        _ => None,
    }
}

fn check(world: &World, entries: &[EndpointConfig]) -> Result<Configured, Vec<EndpointProblem>> {
    Configured::check(
        entries,
        lookup,
        &Arc::new(Catalogue::known()),
        world.client(),
        &EndpointsOptions::default(),
        NOW_US,
    )
}

fn entry(name: &str, url: &str) -> EndpointConfig {
    EndpointConfig {
        name: name.to_owned(),
        secret_env: "BILLING_SECRET".to_owned(),
        url: Some(url.to_owned()),
        patterns: Some(vec!["payment.*".to_owned()]),
        ..EndpointConfig::default()
    }
}

#[tokio::test]
async fn endpoints_of_the_configuration_run_and_can_be_read_only() {
    let world = World::new().await;
    let running = world.run().await;
    let (billing, audit) = (Receiver::agreeable().await, Receiver::agreeable().await);
    let both = [
        entry("billing", &billing.hook()),
        entry("audit", &audit.hook()),
    ];
    let configured = check(&world, &both).unwrap_or_default();
    running.endpoints.configure(configured).await.unwrap();
    world.pay(["tx-1".to_owned()]).await;
    billing.wait(1).await;
    audit.wait(1).await;
    let view = running.endpoints.get("billing").unwrap();
    assert_eq!((view.origin, view.enabled), ("configuration", true));
    let patch = serde_json::from_str(r#"{"rate":1}"#).unwrap();
    let endpoints = &running.endpoints;
    for refused in [
        endpoints
            .change(&operator(), "billing", 0, patch)
            .await
            .err(),
        endpoints.delete(&operator(), "billing", None).await.err(),
        endpoints.rotate(&operator(), "billing", None).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::ReadOnly)), "{refused:?}");
    }

    // A reload: one stays and goes on, the other is gone.
    let one = [entry("billing", &billing.hook())];
    let configured = check(&world, &one).unwrap_or_default();
    endpoints.configure(configured).await.unwrap();
    world.pay(["tx-2".to_owned()]).await;
    billing.wait(2).await;
    assert!(matches!(
        endpoints.get("audit"),
        Err(Error::NotFound { .. })
    ));

    // A restart goes on where it was.
    running.engine.drain().await;
    world.pay(["tx-3".to_owned()]).await;
    let running = world.run().await;
    let configured = check(&world, &one).unwrap_or_default();
    running.endpoints.configure(configured).await.unwrap();
    billing.wait(3).await;
    until("it is at the end", || async {
        running.endpoints.get("billing").unwrap().lag == Some(0)
    })
    .await;
    assert_eq!(billing.received().len(), 3);
    assert_eq!(audit.received().len(), 1);
    running.engine.drain().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_with_its_place() {
    let world = World::new().await;
    let private = "http://10.0.0.7/hook";
    let entries = [
        // An operator wrote it: it may be private.
        entry("billing", private),
        entry("billing", private),
        entry("0193a000-0000-7000-8000-000000000001", private),
        EndpointConfig {
            name: "Audit!".into(),
            secret_env: "BROKEN_SECRET".into(),
            previous_secret_env: Some("MISSING_SECRET".into()),
            ..entry("", "ftp://example.com")
        },
        EndpointConfig {
            secret_env: String::new(),
            filter: Some("payload.amount >".into()),
            patterns: Some(vec!["no.such".into()]),
            ..entry("last", private)
        },
    ];
    let problems = check(&world, &entries).err().unwrap();
    let places: Vec<&str> = problems.iter().map(|one| one.place.as_str()).collect();
    let expected = [
        "endpoints[1].name",
        "endpoints[2].name",
        "endpoints[3].name",
        "endpoints[3].secret_env",
        "endpoints[3].previous_secret_env",
        "endpoints[3].url",
        "endpoints[4].secret_env",
        "endpoints[4].patterns.0",
        "endpoints[4].filter",
    ];
    assert_eq!(places, expected, "{problems:#?}");
}
