//! The window of a page: which part of the range that was asked for it looks at.

use nexus_core::{EventQuery, Order, Seq};

use super::page_query::{Form, Plan};

/// The numbers that a page looks at: `(after, through]`, and whether that is all that was asked for.
pub(crate) struct Window {
    pub(crate) after: Seq,
    pub(crate) through: Seq,
    pub(crate) is_whole: bool,
}

impl Window {
    /// All of the range, or as much of it as may be looked at.
    pub(crate) fn new(query: &EventQuery, is_indexed: bool, examined_max: usize) -> Self {
        let examined_max = examined_max as u64;
        let whole = Self {
            after: query.after,
            through: query.through,
            is_whole: true,
        };
        let length = query.through.get().saturating_sub(query.after.get());
        if is_indexed || length <= examined_max {
            return whole;
        }
        let mut part = Self {
            is_whole: false,
            ..whole
        };
        match query.order {
            Order::Ascending => part.through = query.after.plus(examined_max),
            Order::Descending => part.after = Seq::new(query.through.get() - examined_max),
        }
        part
    }

    /// The part of it whose rows are read one behind the other for so many candidates; nothing where the index
    /// says which rows.
    pub(crate) fn read_in_order(
        &self,
        form: Form,
        plan: &Plan,
        candidates_max: usize,
    ) -> Option<(Seq, Seq)> {
        let rows_max = match plan {
            Plan::Merge(_) | Plan::Nothing => return None,
            Plan::Everything if !form.is_narrowed => candidates_max as u64,
            // What does not match is passed over.
            Plan::Everything | Plan::Scan(_) => u64::MAX,
        };
        let (after, through) = (self.after.get(), self.through.get());
        let (after, through) = match form.order {
            Order::Ascending => (after, through.min(after.saturating_add(rows_max))),
            Order::Descending => (after.max(through.saturating_sub(rows_max)), through),
        };
        Some((Seq::new(after), Seq::new(through)))
    }

    /// The last number in it, in the order of reading.
    pub(crate) fn end(&self, order: Order) -> Seq {
        match order {
            Order::Ascending => self.through,
            Order::Descending => self.after.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::PatternSet;

    use super::*;

    #[test]
    fn rows_are_read_in_order_from_the_end_that_was_asked_for() {
        let query = EventQuery::page(Seq::new(100), Seq::new(5_000), PatternSet::everything());
        let window = Window::new(&query, false, 20_000);
        let read = |order, is_narrowed, plan: Plan, candidates_max| {
            let form = Form { order, is_narrowed };
            let read = window.read_in_order(form, &plan, candidates_max);
            read.map(|(after, through)| (after.get(), through.get()))
        };
        let (up, down) = (Order::Ascending, Order::Descending);
        for (order, is_narrowed, plan, candidates_max, expected) in [
            (up, false, Plan::Everything, 1_001, Some((100, 1_101))),
            (down, false, Plan::Everything, 1_001, Some((3_999, 5_000))),
            (up, false, Plan::Everything, usize::MAX, Some((100, 5_000))),
            (
                down,
                false,
                Plan::Everything,
                usize::MAX,
                Some((100, 5_000)),
            ),
            (up, true, Plan::Everything, 1_001, Some((100, 5_000))),
            (down, true, Plan::Everything, 1_001, Some((100, 5_000))),
            (up, false, Plan::Scan(vec![1]), 1_001, Some((100, 5_000))),
            (up, false, Plan::Merge(vec![1]), 1_001, None),
        ] {
            let case = format!("{order:?} {is_narrowed} {plan:?} {candidates_max}");
            assert_eq!(
                read(order, is_narrowed, plan, candidates_max),
                expected,
                "{case}"
            );
        }
    }
}
