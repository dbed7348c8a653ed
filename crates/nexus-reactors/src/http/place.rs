//! A place of the log in a body: a position, a time, or the beginning.

use nexus_core::{Log, Position, Seq, parse_iso8601_us};
use nexus_http::Problem;

/// Where a range begins: behind the event that it gives. `from` is a position (what follows it), a time
/// (what was written then or later), or `earliest`.
pub(super) async fn after(log: &Log, from: &str) -> Result<Seq, Problem> {
    let after = match from {
        "earliest" => return Ok(log.pruned_through().await?),
        text => place(log, "from", text, true).await?,
    };
    match log.pruned_since(after).await? {
        None => Ok(after),
        Some(pruned) => {
            let detail = "what follows the position was removed from the log";
            Err(Problem::gone("pruned", detail, log.position(pruned)))
        }
    }
}

/// Where a range ends: with the event that it gives. `through` is a position, or a time (what was written
/// before); without it, the end of the log as it is now.
pub(super) async fn through(log: &Log, through: Option<&str>) -> Result<Seq, Problem> {
    match through {
        None => Ok(log.stored().seq),
        Some(text) => place(log, "through", text, false).await,
    }
}

async fn place(log: &Log, name: &str, text: &str, or_earliest: bool) -> Result<Seq, Problem> {
    if let Some(time_us) = parse_iso8601_us(text) {
        return Ok(log.last_before(time_us.saturating_sub(1)).await?);
    }
    let Ok(position) = text.parse::<Position>() else {
        let earliest = if or_earliest { ", or `earliest`" } else { "" };
        return Err(Problem::invalid_request(format!(
            "`{name}` must be a position, as `7f3a09c2-1042`, a time as RFC 3339 writes it{earliest}"
        )));
    };
    Problem::unless_reached(log, position)?;
    Ok(position.seq)
}
