//! The process is killed in the middle of its work, again and again.

use nexus_store::Sqlite;
use nexus_testkit::oracle::Oracle;

use super::child::{Running, database, judge};

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

/// Also while old events are removed: wherever the kill falls, what is left begins behind a cut, and the
/// chain goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_pruning_leaves_a_whole_log() {
    let lives = if std::env::var_os("NEXUS_DEEP").is_some() {
        300
    } else {
        20
    };
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let mut pruned = nexus_core::Seq::ZERO;
    for life in 0..lives {
        let mut child = Running::start_pruning(folder.path(), &format!("life{life}"));
        child.read_oks(&mut oracle, 100 + life % 10 * 37);
        child.kill(&mut oracle);
        let verified = Sqlite::verify(&database(folder.path())).await.unwrap();
        assert!(verified.pruned_through >= pruned, "nothing comes back");
        pruned = verified.pruned_through;
    }
    assert!(pruned.get() > 1_000, "too little was removed: {pruned}");
    let judged = judge(folder.path(), &mut oracle).await;
    println!("{judged:?}, removed through {pruned}");
    assert!(judged.seen > 0);
}
