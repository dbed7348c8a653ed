//! The process is killed in the middle of its work, again and again.

use nexus_testkit::oracle::Oracle;

use super::child::{Running, judge};

/// After each kill the log is whole: what was acknowledged is there once, what was refused is not, what a
/// reader saw has not changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let lives = if std::env::var_os("NEXUS_DEEP").is_some() {
        500
    } else {
        30
    };
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    for life in 0..lives {
        let mut child = Running::start(folder.path(), &format!("life{life}"), &[]);
        // A different moment each time.
        child.read_oks(&mut oracle, 40 + life % 10 * 17);
        child.kill(&mut oracle);
    }
    let judged = judge(folder.path(), &mut oracle).await;
    println!("{judged:?}");
    assert!(judged.seen > 0);
}
