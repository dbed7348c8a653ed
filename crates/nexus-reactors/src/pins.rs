//! What reactors still need of the log, for retention.

use std::{collections::BTreeMap, sync::Arc};

use nexus_core::{Error, Log, Pin, PinSource, Record, RecordQuery, RecordsBy, Seq};

use crate::{
    delivery::{DEAD, DELIVERY, Delivery},
    progress::Progress,
    target,
};

/// Of each reactor this many of its oldest deliveries are looked at, however many there are: the oldest holds the
/// log, and whether others of the other kind are near it is for people.
const OLDEST_LOOKED_AT: usize = 16;
/// Behind the name of a reactor's last delivery, and before that of any other reactor's first: the part behind the
/// `/` is a number.
const BEHIND_ALL: &str = "/~";

/// What is not settled for the reactors with these names, asked for each time, and the event of each delivery that waits or was
/// given up and is kept, also of reactors that no longer run.
pub(crate) fn source(
    log: Log,
    names: impl Fn() -> Vec<Arc<str>> + Send + Sync + 'static,
) -> PinSource {
    PinSource::new(move || {
        let (log, names) = (log.clone(), names());
        async move {
            // First how far each is: what it passes after that becomes a delivery in the same commit.
            let mut pins = of_progress(&log, &names).await?;
            pins.extend(of_deliveries(&log).await?);
            Ok(pins)
        }
    })
}

async fn of_progress(log: &Log, names: &[Arc<str>]) -> Result<Vec<Pin>, Error> {
    let mut pins = Vec::with_capacity(names.len());
    for name in names {
        let Some(record) = log.record(&target::cursor_key(name)).await? else {
            continue;
        };
        let found = Progress::decode(&record.body).ok_or_else(|| damaged(&record))?;
        let after = Seq::new(found.progress.position());
        pins.push(Pin::new(format!("reactor {name}"), after));
    }
    Ok(pins)
}

/// The oldest delivery of each reactor; where both are near, the oldest that waits and the oldest that is a dead
/// letter.
async fn of_deliveries(log: &Log) -> Result<Vec<Pin>, Error> {
    let mut query = RecordQuery {
        family: DELIVERY,
        by: RecordsBy::All,
        after_key: None,
        records_max: OLDEST_LOOKED_AT,
    };
    let mut oldest: BTreeMap<(Arc<str>, bool), u64> = BTreeMap::new();
    loop {
        // Names sort by reactor and number: the oldest of one reactor come first.
        let records = log.records(&query).await?;
        let Some(reactor) = records.first().map(|record| record.scope.clone()) else {
            break;
        };
        let of_reactor = records.iter().filter(|record| record.scope == reactor);
        for record in of_reactor {
            let seq = Delivery::decode(record).ok_or_else(|| damaged(record))?.seq;
            let of = (reactor.clone(), &*record.state == DEAD);
            oldest.entry(of).or_insert(seq);
        }
        query.after_key = Some(format!("{reactor}{BEHIND_ALL}").into());
    }
    let pin = |((reactor, is_dead), seq): ((Arc<str>, bool), u64)| {
        let what = if is_dead {
            "dead letters"
        } else {
            "deliveries"
        };
        // The event itself is needed.
        let after = Seq::new(seq).previous();
        Pin::new(format!("{what} of reactor {reactor}"), after)
    };
    Ok(oldest.into_iter().map(pin).collect())
}

fn damaged(record: &Record) -> Error {
    Error::Damaged {
        detail: format!("the record {} cannot be understood", record.key),
    }
}
