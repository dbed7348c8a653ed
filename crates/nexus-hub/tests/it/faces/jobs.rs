//! Jobs: begun, followed, ended early, interrupted by the end of Nexus, and cleaned up.

use std::time::Duration;

use http::Method;
use nexus_core::{Command, Principal, Publish, Scope, Source};
use serde_json::{Value, json};

use super::{
    stub::Stub,
    support::{ANA, Api, BOB, NOW_US, OPERATOR, World},
};

const DAY_US: i64 = 86_400_000_000;

fn invoke(tool: &str) -> Value {
    json!({ "action": "invoke", "toolName": tool, "async": true, "params": { "text": "hi" } })
}

/// What the events of a job say happened, in order.
async fn told(world: &World, job: &str) -> Vec<String> {
    let events = world.all("job.*").await;
    let of_job = events
        .iter()
        .filter(|event| event.key.as_deref() == Some(job));
    of_job.map(|event| event.topic.to_string()).collect()
}

async fn begin(api: &Api, tool: &str) -> String {
    let begun = api.act(ANA, invoke(tool)).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    assert_eq!(begun.body["sync"], false);
    assert_eq!(begun.body["status"], "pending");
    begun.body["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_is_in_the_log_before_its_answer_and_tells_every_change() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let job = begin(&api, "notes_wait").await;
    assert_eq!(told(&world, &job).await[0], "job.created");
    api.until_job(ANA, &job, "running").await;
    stub.open();
    let done = api.until_job(ANA, &job, "completed").await;
    assert_eq!(done["result"]["content"][0]["text"], "done");
    assert!(done["started_at"].is_string() && done["completed_at"].is_string());
    assert_eq!(
        told(&world, &job).await,
        ["job.created", "job.started", "job.completed"]
    );
    // Its owner may read them, others may not, operators may.
    let events = world.all("job.*").await;
    let reader = |name: &str, scopes: &[Scope]| {
        let scopes = scopes.iter().copied().collect();
        Principal::new(Source::user(name), Publish::Nothing, scopes)
    };
    let operator = reader("carol", &[Scope::Read, Scope::Operate]);
    for event in &events {
        assert!(reader("ana", &[Scope::Read]).may_read(event));
        assert!(!reader("bob", &[Scope::Read]).may_read(event));
        assert!(operator.may_read(event));
    }
    let status = api
        .act(ANA, json!({ "action": "get_job_status", "jobId": job }))
        .await;
    for member in [
        "job_id",
        "status",
        "result",
        "error",
        "created_at",
        "started_at",
        "completed_at",
    ] {
        assert!(
            status.body.get(member).is_some(),
            "{member}: {}",
            status.text
        );
    }
}

#[tokio::test]
async fn a_tool_that_is_slow_becomes_a_job_and_one_that_takes_long_too() {
    let world = World::new().await;
    let api = world
        // Long enough for the quick one, on a machine that is busy.
        .start_with(|options| options.jobs.promote_after = Duration::from_secs(5))
        .await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let quick = api
        .act(ANA, json!({ "action": "invoke", "toolName": "notes_echo" }))
        .await;
    assert_eq!(quick.body["sync"], true, "{}", quick.text);
    // By what its server says of it.
    let slow = api
        .act(
            ANA,
            json!({ "action": "invoke", "toolName": "notes_export" }),
        )
        .await;
    assert_eq!(
        (&slow.body["sync"], &slow.body["status"]),
        (&json!(false), &json!("pending"))
    );
    assert!(
        slow.body["estimated_completion"].is_string(),
        "{}",
        slow.text
    );
    // By how long it takes.
    let long = api.call(ANA, "notes_wait", json!({})).await;
    assert_eq!(long.status, 202, "{}", long.text);
    assert_eq!(long.body["data"]["status"], "running");
    let long = long.body["data"]["job_id"].as_str().unwrap().to_owned();
    assert_eq!(told(&world, &long).await, ["job.created", "job.started"]);
    stub.open();
    api.until_job(ANA, &long, "completed").await;
    api.until_job(ANA, slow.body["job_id"].as_str().unwrap(), "completed")
        .await;
    assert_eq!((stub.called("wait"), stub.called("export")), (1, 1));
}

#[tokio::test]
async fn a_job_that_nobody_wants_any_more_is_cancelled_once() {
    let world = World::new().await;
    let api = world
        .start_with(|options| options.jobs.running_max = 1)
        .await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let running = begin(&api, "notes_wait").await;
    api.until_job(ANA, &running, "running").await;
    let waiting = begin(&api, "notes_wait").await;
    for job in [&waiting, &running] {
        let cancelled = api
            .act(ANA, json!({ "action": "cancel_job", "jobId": job }))
            .await;
        assert_eq!(
            cancelled.body,
            json!({ "success": true }),
            "{}",
            cancelled.text
        );
        let again = api
            .act(ANA, json!({ "action": "cancel_job", "jobId": job }))
            .await;
        assert_eq!(
            (again.status, again.code()),
            (409, "job-ended"),
            "{}",
            again.text
        );
        let kept = api.until_job(ANA, job, "cancelled").await;
        assert_eq!(kept["result"], Value::Null);
    }
    assert_eq!(
        told(&world, &waiting).await,
        ["job.created", "job.cancelled"]
    );
    assert_eq!(
        told(&world, &running).await,
        ["job.created", "job.started", "job.cancelled"]
    );
    // The place that they had is free.
    stub.open();
    let next = begin(&api, "notes_wait").await;
    api.until_job(ANA, &next, "completed").await;
    assert_eq!(stub.called("wait"), 2);
    assert_eq!(api.jobs.unfinished(), 0);
}

#[tokio::test]
async fn what_a_tool_says_and_what_its_server_fails_at_are_told_apart() {
    let world = World::new().await;
    let api = world
        .start_with(|options| options.jobs.result_bytes_max = 1024)
        .await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    // A tool that says that it failed has a result.
    let said = begin(&api, "notes_fail").await;
    let said = api.until_job(ANA, &said, "completed").await;
    assert_eq!(said["result"]["isError"], true);
    let large = begin(&api, "notes_large").await;
    let large = api.until_job(ANA, &large, "failed").await;
    assert_eq!(
        (&large["code"], &large["retriable"]),
        (&json!("result-too-large"), &json!(false))
    );
    let unknown = api.act(ANA, invoke("notes_nothing")).await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (404, "not-found"),
        "{}",
        unknown.text
    );
    let wrong = json!({ "action": "invoke", "toolName": "notes_echo", "params": [1] });
    assert_eq!(api.act(ANA, wrong).await.status, 400);
    drop(stub);
    let gone = begin(&api, "notes_echo").await;
    let gone = api.until_job(ANA, &gone, "failed").await;
    assert_eq!(gone["retriable"], true, "{gone}");
    assert!(gone["error"].is_string());
}

#[tokio::test]
async fn a_job_is_never_run_twice_in_silence_when_nexus_ends_between() {
    let world = World::new().await;
    let stub = Stub::start().await;
    // The first life has a runtime of its own, which ends as a process does: wherever everything is.
    let life = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let first = world.clone();
    let url = stub.url.clone();
    let jobs = life.spawn(async move {
        let api = first
            .start_with(|options| options.jobs.running_max = 1)
            .await;
        let config = json!({ "name": "notes", "transport": "http", "url": url });
        let added = api
            .act(ANA, json!({ "action": "add_server", "config": config }))
            .await;
        let sync = json!({ "action": "sync_tools", "serverId": added.body["server_id"] });
        assert_eq!(api.act(ANA, sync).await.body["success"], true);
        let done = begin(&api, "notes_echo").await;
        api.until_job(ANA, &done, "completed").await;
        let running = begin(&api, "notes_wait").await;
        api.until_job(ANA, &running, "running").await;
        let pending = begin(&api, "notes_echo").await;
        // What is not dropped in order is what a kill leaves.
        std::mem::forget(api);
        [done, running, pending]
    });
    let [done, running, pending] = jobs.await.unwrap();
    life.shutdown_background();

    let api = world.start().await;
    let failed = api.until_job(ANA, &running, "failed").await;
    assert_eq!(
        (&failed["code"], &failed["retriable"]),
        (&json!("interrupted"), &json!(true))
    );
    let failed = api.until_job(ANA, &pending, "failed").await;
    assert_eq!(
        (&failed["code"], &failed["retriable"]),
        (&json!("not-started"), &json!(true))
    );
    let kept = api.until_job(ANA, &done, "completed").await;
    assert_eq!(kept["result"]["content"][0]["text"], "hi");
    assert_eq!(
        told(&world, &running).await,
        ["job.created", "job.started", "job.failed"]
    );
    assert_eq!(told(&world, &pending).await, ["job.created", "job.failed"]);
    stub.open();
    let again = begin(&api, "notes_echo").await;
    api.until_job(ANA, &again, "completed").await;
    assert_eq!((stub.called("wait"), stub.called("echo")), (1, 2));
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_go_when_their_time_has_come() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let job = begin(&api, "notes_echo").await;
        api.until_job(ANA, &job, "completed").await;
        world.clock.advance_us(1_000_000);
        jobs.insert(0, job);
    }
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?limit=2&status=completed{cursor}");
        let page = api.ask(ANA, Method::GET, &path, None).await;
        let page_jobs = page.body["data"].as_array().unwrap();
        listed.extend(
            page_jobs
                .iter()
                .map(|job| job["job_id"].as_str().unwrap().to_owned()),
        );
        match page.body["meta"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, jobs);
    let none = api
        .ask(ANA, Method::GET, "/api/v1/jobs?status=failed", None)
        .await;
    assert_eq!(none.body["data"], json!([]));
    assert_eq!(
        api.ask(ANA, Method::GET, "/api/v1/jobs?status=odd", None)
            .await
            .status,
        400
    );

    // Seven days after it ended each goes, and what runs stays.
    let running = begin(&api, "notes_wait").await;
    api.until_job(ANA, &running, "running").await;
    let first_ended_us = NOW_US;
    let now_us = world.clock.now_us();
    world
        .clock
        .advance_us(first_ended_us + 7 * DAY_US + 1_500_000 - now_us);
    assert_eq!(api.jobs.clean_up().await.unwrap(), 2);
    let left = api.ask(ANA, Method::GET, "/api/v1/jobs", None).await;
    assert_eq!(
        left.body["data"].as_array().unwrap().len(),
        4,
        "{}",
        left.text
    );
    world.clock.advance_us(DAY_US);
    assert_eq!(api.jobs.clean_up().await.unwrap(), 3);
    assert_eq!(
        api.until_job(ANA, &running, "running").await["job_id"],
        running
    );
    stub.open();
    api.until_job(ANA, &running, "completed").await;
    assert_eq!(
        api.ask(ANA, Method::GET, &format!("/api/v1/jobs/{}", jobs[0]), None)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_job_that_nobody_works_on_is_said_to_have_failed_and_goes_after_a_day() {
    let world = World::new().await;
    let api = world.start().await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let job = begin(&api, "notes_wait").await;
    api.until_job(ANA, &job, "running").await;
    // Another process has it, as far as the second one knows.
    let key = nexus_core::Key::new(nexus_core::Family::new("job"), job.as_str());
    let record = world.log.record(&key).await.unwrap().unwrap();
    stub.open();
    api.until_job(ANA, &job, "completed").await;
    let orphan = "0".repeat(32);
    let put = nexus_core::Change::Put {
        key: nexus_core::Key::new(nexus_core::Family::new("job"), orphan.as_str()),
        owner: record.owner.clone(),
        scope: record.scope.clone(),
        state: record.state.clone(),
        due_us: record.due_us,
        fence: nexus_core::Fence::Keep,
        body: record.body.clone(),
    };
    let command = Command {
        changes: vec![put],
        ..Command::default()
    };
    world
        .log
        .submit(&Principal::nexus(), command)
        .await
        .unwrap();
    assert_eq!(api.jobs.clean_up().await.unwrap(), 0);
    world.clock.advance_us(DAY_US + 1);
    assert_eq!(api.jobs.clean_up().await.unwrap(), 1);
    assert_eq!(told(&world, &orphan).await, ["job.failed"]);
    let gone = api
        .ask(ANA, Method::GET, &format!("/api/v1/jobs/{orphan}"), None)
        .await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn a_job_over_the_limit_is_refused_before_it_is_written_and_one_that_waits_is_not() {
    let world = World::new().await;
    let api = world
        .start_with(|options| options.jobs.running_max = 1)
        .await;
    let stub = Stub::start().await;
    api.add(ANA, "notes", &stub, None).await;
    let few = json!({
        "name": "few", "transport": "http", "url": stub.url, "rate_limit_per_minute": 1,
    });
    let added = api
        .act(ANA, json!({ "action": "add_server", "config": few }))
        .await;
    let sync = json!({ "action": "sync_tools", "serverId": added.body["server_id"] });
    assert_eq!(api.act(ANA, sync).await.status, 200);
    // It has the one place among those that run.
    let running = begin(&api, "notes_wait").await;
    api.until_job(ANA, &running, "running").await;
    let waiting = begin(&api, "few_echo").await;
    let refused = api.act(ANA, invoke("few_echo")).await;
    assert_eq!(
        (refused.status, refused.code()),
        (429, "rate-limited"),
        "{}",
        refused.text
    );
    assert!(refused.body["retry_after"].as_u64().unwrap() >= 1);
    let kept = api.ask(ANA, Method::GET, "/api/v1/jobs", None).await;
    assert_eq!(kept.body["data"].as_array().unwrap().len(), 2);
    let created = world.all("job.created").await;
    assert_eq!(created.len(), 2, "nothing was written of it");
    assert_eq!(api.jobs.unfinished(), 2, "it took no place");
    // What it costs was taken when it was asked for.
    stub.open();
    api.until_job(ANA, &waiting, "completed").await;
    assert_eq!(stub.called("echo"), 1);
}

#[tokio::test]
async fn one_user_does_not_take_every_place() {
    let world = World::new().await;
    let api = world
        .start_with(|options| {
            options.jobs.unfinished_per_user_max = 2;
            options.jobs.unfinished_max = 3;
        })
        .await;
    let stub = Stub::start().await;
    let shared = json!({ "name": "notes", "shared": true, "transport": "http", "url": stub.url });
    let added = api
        .act(
            OPERATOR,
            json!({ "action": "add_server", "config": shared }),
        )
        .await;
    let sync = json!({ "action": "sync_tools", "serverId": added.body["server_id"] });
    assert_eq!(api.act(OPERATOR, sync).await.status, 200);
    for (token, status, why) in [
        (ANA, 200, ""),
        (ANA, 200, ""),
        (ANA, 429, "2 jobs of yours are unfinished already"),
        (BOB, 200, ""),
        (BOB, 429, "3 jobs in all are unfinished already"),
    ] {
        let begun = api.act(token, invoke("notes_wait")).await;
        assert_eq!(begun.status, status, "{}", begun.text);
        if status == 429 {
            assert_eq!(begun.body["error"], why);
            assert_eq!(begun.body["retry_after"], 5);
            assert_eq!(begun.header("retry-after"), "5");
        }
    }
    stub.open();
}
