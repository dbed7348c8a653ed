//! Pages from the store, for readers behind what memory holds.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use nexus_core::{Event, EventQuery, PAGE_EXAMINED_MAX, Seq};
use tokio::time::Instant;

use crate::{
    handle::Shared,
    segment::{Encoder, Segment},
    selection::Selection,
};

/// A page has at most this many events: about what a segment holds.
const PAGE_EVENTS_MAX: usize = 512;
/// After so many turns of a slow filter the page ends, so that others may read theirs.
const TURNS_MAX: usize = 8;
/// How long a reader waits when the store cannot be read.
const READ_RETRY: Duration = Duration::from_millis(250);

/// What reading a page came to.
pub(crate) enum Page {
    Read(Segment),
    /// Retention removed what was to be read.
    Pruned,
    /// The store could not be read; it was waited for a while.
    Failed,
}

/// Where a page begins and where it ends at the latest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) after: Seq,
    pub(crate) through: Seq,
}

/// Reads and encodes the beginning of a range: what the selection holds of it and `wanted` says yes to.
pub(crate) fn read(
    shared: Arc<Shared>,
    selection: Arc<Selection>,
    range: Range,
    wanted: impl Fn(&Event) -> bool + Send + Sync + 'static,
) -> BoxFuture<'static, Page> {
    Box::pin(async move {
        // Fair: whoever asked first reads first. It is never closed.
        let _permit = shared.page_reads.acquire().await;
        let (begun, head) = (Instant::now(), shared.log.head());
        match read_page(&shared, &selection, range, &wanted).await {
            Ok(page) => {
                // Those near the head must not notice who is behind: while the log grows, half of the time
                // is theirs.
                if shared.log.head() != head {
                    rest(&shared, begun.elapsed()).await;
                }
                return page;
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a reader could not read the log"
            ),
        }
        tokio::time::sleep(READ_RETRY).await;
        Page::Failed
    })
}

/// Leaves the store to others for as long as it was used, with one place fewer for those who are behind.
async fn rest(shared: &Shared, time: Duration) {
    shared.metrics.rests.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(time).await;
}

async fn read_page(
    shared: &Shared,
    selection: &Selection,
    Range { after, through }: Range,
    wanted: &(impl Fn(&Event) -> bool + Sync),
) -> Result<Page, nexus_core::Error> {
    let format = selection.format();
    let query = EventQuery {
        events_max: PAGE_EVENTS_MAX,
        bytes_max: format.segment_bytes_max(shared.options.page_bytes_max),
        examined_max: PAGE_EXAMINED_MAX,
        ..EventQuery::page(after, through, selection.patterns())
    };
    let page = shared.log.events(&query).await?;
    // Asked after the page: what was removed before it was read would be missing.
    if shared.log.pruned_since(after).await?.is_some() {
        return Ok(Page::Pruned);
    }
    shared.metrics.pages.fetch_add(1, Ordering::Relaxed);
    let epoch = shared.log.head().epoch;
    let segment_bytes_max = format.segment_bytes_max(shared.options.segment_bytes_max);
    let catalogue = shared.log.catalogue();
    let mut encoder = Encoder::new(selection, epoch, catalogue, after, segment_bytes_max);
    encoder.reserve(&page.events);
    let mut turns = 1;
    for event in page.events.iter().filter(|event| wanted(event)) {
        if encoder.is_long() {
            if turns == TURNS_MAX {
                return Ok(Page::Read(encoder.finish()));
            }
            turns += 1;
            tokio::task::yield_now().await;
            encoder.take_turn();
        }
        if !encoder.push(event) {
            return Ok(Page::Read(encoder.finish()));
        }
    }
    encoder.reach(page.reached);
    Ok(Page::Read(encoder.finish()))
}
