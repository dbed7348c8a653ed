//! The clients of a run: publishers and readers that go on from one life of the daemon to the next.

use std::{mem, net::SocketAddr, path::Path, sync::Arc};

use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};

use super::{
    judge::{Verdict, judge},
    publisher::Publisher,
    reader::Reader,
    record::Record,
};
use crate::support::{Daemon, PATIENCE, SECRET, until};

/// Publishers and readers, beside the thread of the test.
pub(crate) struct Load {
    runtime: Runtime,
    record: Arc<Record>,
    publishers: Vec<Publisher>,
    readers: Vec<Reader>,
    publishing: Vec<JoinHandle<Publisher>>,
    reading: Vec<JoinHandle<Reader>>,
    lives: usize,
}

impl Load {
    pub(crate) fn new(publishers: usize, readers: usize) -> Self {
        let record = Arc::new(Record::new(readers));
        let publisher = |number| Publisher::new(number, record.clone());
        Self {
            runtime: Runtime::new().unwrap(),
            publishers: (0..publishers).map(publisher).collect(),
            readers: (0..readers)
                .map(|number| Reader::new(number, record.clone()))
                .collect(),
            publishing: Vec::new(),
            reading: Vec::new(),
            lives: 0,
            record,
        }
    }

    /// Everyone begins, on a daemon that has just become ready.
    pub(crate) fn begin(&mut self, address: SocketAddr) {
        self.lives += 1;
        let publishers = self.publishers.drain(..);
        self.publishing
            .extend(publishers.map(|publisher| self.runtime.spawn(publisher.publish(address))));
        let readers = self.readers.drain(..);
        self.reading
            .extend(readers.map(|reader| self.runtime.spawn(reader.follow(address))));
    }

    /// Waits until everyone noticed that the daemon has ended.
    pub(crate) fn end(&mut self) {
        self.publishers = join(&self.runtime, mem::take(&mut self.publishing));
        self.readers = join(&self.runtime, mem::take(&mut self.reading));
    }

    /// On a daemon that is not harmed: what is open and has a key is sent again, and readers see everything
    /// there is.
    pub(crate) fn settle(&mut self, daemon: &Daemon) {
        self.lives += 1;
        let address = daemon.address();
        let publishers = self.publishers.drain(..);
        let settling = publishers.map(|publisher| self.runtime.spawn(publisher.settle(address)));
        self.publishers = join(&self.runtime, settling.collect());
        let newest = daemon.read("/events/log?limit=1", SECRET);
        let head = newest["events"][0]["seq"].as_u64().unwrap();
        let readers = self.readers.drain(..);
        let reading =
            readers.map(|reader| self.runtime.spawn(reader.follow_through(address, head)));
        self.readers = join(&self.runtime, reading.collect());
    }

    /// Waits until so many more events were acknowledged.
    pub(crate) fn until_oks(&self, more: usize) {
        let enough = self.record.oks() + more;
        until("acknowledged events", || {
            (self.record.oks() >= enough).then_some(())
        });
    }

    /// Waits until so many more events were acknowledged, and every reader saw more than any had seen.
    pub(crate) fn until_read(&self, more: usize) {
        let before = self.record.read_by_any();
        self.until_oks(more);
        until("readers", || {
            (self.record.read_by_all() > before).then_some(())
        });
    }

    /// Waits until a publisher was refused anew.
    pub(crate) fn until_refused(&self) {
        let before = self.record.refusals();
        until("a refusal", || {
            (self.record.refusals() > before).then_some(())
        });
    }

    /// How many readers there are that the daemon, which stopped in order, told where to resume: after the
    /// last event that it had sent them.
    ///
    /// # Panics
    /// When one was told another place.
    pub(crate) fn readers_told(&mut self) -> usize {
        let told = self.readers.iter_mut().filter_map(|reader| {
            let told = reader.take_told()?;
            assert_eq!(Some(told.as_str()), reader.position());
            Some(told)
        });
        told.count()
    }

    /// Ends the run: compares what everyone knows with the log that the last daemon left in its data folder.
    ///
    /// # Panics
    /// With the first thing that is wrong.
    pub(crate) fn judge(self, data: &Path) -> Verdict {
        drop((self.publishers, self.readers));
        let record = Arc::into_inner(self.record).expect("everyone has ended");
        let judging = judge(record.into_known(), data, self.lives);
        self.runtime.block_on(judging)
    }
}

fn join<T>(runtime: &Runtime, tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let all = async {
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(task.await.unwrap());
        }
        ended
    };
    let ended = runtime.block_on(async { timeout(PATIENCE, all).await });
    ended.expect("every client is done, or ends with the daemon")
}
