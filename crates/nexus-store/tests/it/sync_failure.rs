//! The disk fails to sync, once: the process must stop rather than go on.

use std::process::Command;

use nexus_testkit::oracle::Oracle;

use super::child::{EXIT_FATAL, Running, judge, skip};

/// One failed sync: no wrong answer, exit 74, and a clean start afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_stops_the_process_and_the_log_stays_whole() {
    if !can_trace() {
        skip("strace is missing or may not trace");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let mut first = Running::start(folder.path(), "before", &[]);
    first.read_oks(&mut oracle, 1_000);
    first.kill(&mut oracle);
    // Later than the syncs of starting up, of which one is of a folder: SQLite passes over its failure.
    let moments: &[u32] = if std::env::var_os("NEXUS_DEEP").is_some() {
        &[9, 13, 21, 34, 55, 89, 144]
    } else {
        &[9, 40]
    };
    for when in moments {
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
        let tracer = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            &inject,
        ];
        let child = Running::start(folder.path(), &format!("sync{when}"), &tracer);
        let status = child.wait(&mut oracle);
        assert_eq!(status.code(), Some(EXIT_FATAL), "sync number {when}");
    }
    let judged = judge(folder.path(), &mut oracle).await;
    println!("{judged:?}");
}

fn can_trace() -> bool {
    Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
}
