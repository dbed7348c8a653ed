//! What a benchmark found: cases, each measured of one or more servers, and what their ratios must be.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{machine::Machine, report::OTHERS_BUSY_MAX};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What a case must hold: its own value, or its ratio to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) case: &'static str,
    /// The server whose value is meant.
    pub(crate) of: &'static str,
    /// The server that it is divided by; none = the value itself counts.
    pub(crate) to: Option<&'static str>,
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
}

/// One server's values in one case, a round each.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) server: &'static str,
    pub(crate) median: f64,
    pub(crate) rounds: Vec<f64>,
}

/// One thing that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) case: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) series: Vec<Series>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// A ratio or value, over all rounds, and its budget if it has one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) of: &'static str,
    pub(crate) to: Option<&'static str>,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) must: Option<f64>,
    pub(crate) aim: Option<f64>,
    pub(crate) met: bool,
}

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Book {
    benchmark: &'static str,
    date: String,
    revision: String,
    what: &'static str,
    seconds: u64,
    machine: Machine,
    /// The part of all cores that was busy before the run.
    others_busy: f64,
    cases: Vec<Case>,
}

impl Book {
    pub(crate) fn new(
        benchmark: &'static str,
        what: &'static str,
        date: String,
        revision: String,
        seconds: u64,
        machine: Machine,
        others_busy: f64,
    ) -> Self {
        Self {
            benchmark,
            date,
            revision,
            what,
            seconds,
            machine,
            others_busy,
            cases: Vec::new(),
        }
    }

    /// Adds the value of one round.
    pub(crate) fn record(
        &mut self,
        case: &str,
        unit: &'static str,
        better: Better,
        server: &'static str,
        value: f64,
    ) {
        println!("{case:<60} {server:<12} {value:>14.1} {unit}");
        let index = self.cases.iter().position(|known| known.case == case);
        let index = index.unwrap_or_else(|| {
            self.cases.push(Case {
                case: case.to_owned(),
                unit,
                better,
                series: Vec::new(),
                verdicts: Vec::new(),
            });
            self.cases.len() - 1
        });
        let series = &mut self.cases[index].series;
        match series.iter_mut().find(|series| series.server == server) {
            Some(series) => series.rounds.push(value),
            None => series.push(Series {
                server,
                median: value,
                rounds: vec![value],
            }),
        }
    }

    /// Compares the first server of each case with the others, and with the budgets.
    pub(crate) fn judge(&mut self, budgets: &[Budget]) {
        for case in &mut self.cases {
            for series in &mut case.series {
                series.median = median(&series.rounds);
            }
            case.verdicts = verdicts(case, budgets);
        }
    }

    /// Whether others used the machine too much for the figures to mean anything.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others_busy > OTHERS_BUSY_MAX
    }

    /// What misses its budget, in words.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for case in &self.cases {
            for verdict in case.verdicts.iter().filter(|verdict| !verdict.met) {
                missed.push(format!("{}: {}", case.case, verdict.text(case)));
            }
        }
        missed
    }

    /// The table that is put into a page.
    pub(crate) fn markdown(&self) -> String {
        let rounds = self
            .cases
            .iter()
            .flat_map(|case| case.series.iter().map(|series| series.rounds.len()));
        let mut page = format!(
            "Measured on {} at `{}`, {} rounds of {} s: {}.\n\n",
            self.date,
            self.revision,
            rounds.max().unwrap_or(0),
            self.seconds,
            self.machine.line()
        );
        let mut servers: Vec<&str> = Vec::new();
        for series in self.cases.iter().flat_map(|case| &case.series) {
            if !servers.contains(&series.server) {
                servers.push(series.server);
            }
        }
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| what | {} | ratio | must |", servers.join(" | "));
        let _ = writeln!(page, "|---|{}---|---|", "---|".repeat(servers.len()));
        for case in &self.cases {
            let of = |server: &str| case.series.iter().find(|series| series.server == server);
            let medians = servers.iter().map(|server| {
                of(server).map_or_else(String::new, |series| readable(series.median, case.unit))
            });
            let medians: Vec<String> = medians.collect();
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                case.case,
                medians.join(" | "),
                case.ratios(),
                case.musts()
            );
        }
        page
    }

    /// The table that is printed.
    pub(crate) fn table(&self) -> String {
        let mut table = format!("\n{}\n", self.machine.line());
        for case in &self.cases {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{}", case.case);
            for series in &case.series {
                let (median, unit) = (series.median, case.unit);
                let _ = writeln!(table, "    {:<12} {median:>14.1} {unit}", series.server);
            }
            for verdict in &case.verdicts {
                let _ = writeln!(table, "    {}", verdict.text(case));
            }
        }
        if self.is_disturbed() {
            table.push_str("others kept the machine busy: these figures are no result\n");
        }
        table
    }
}

impl Case {
    /// How the first server compares with the others.
    fn ratios(&self) -> String {
        let compared = self.verdicts.iter().filter(|verdict| verdict.to.is_some());
        let ratios = compared.map(|verdict| {
            let (median, lowest, highest) = (verdict.median, verdict.lowest, verdict.highest);
            format!("{median:.2} x ({lowest:.2} to {highest:.2})")
        });
        ratios.collect::<Vec<_>>().join(", ")
    }

    /// What it has to hold, and whether it does.
    fn musts(&self) -> String {
        let musts = self.verdicts.iter().filter_map(|verdict| {
            let must = match verdict.to {
                Some(_) => format!("{} x", verdict.must?),
                None => readable(verdict.must?, self.unit),
            };
            let verdict = if verdict.met { "" } else { ", **not met**" };
            Some(format!("{must}{verdict}"))
        });
        musts.collect::<Vec<_>>().join(", ")
    }
}

/// A value in the unit that is easiest to read.
fn readable(value: f64, unit: &str) -> String {
    match unit {
        "us" => format!("{:.2} ms", value / 1e3),
        "KiB" => format!("{:.1} MiB", value / 1024.0),
        _ => format!("{value:.1} {unit}"),
    }
}

impl Verdict {
    fn text(&self, case: &Case) -> String {
        let (median, lowest, highest) = (self.median, self.lowest, self.highest);
        let mut text = match self.to {
            Some(to) => format!(
                "{} / {to}: {median:.2} x ({lowest:.2} to {highest:.2})",
                self.of
            ),
            None => format!(
                "{}: {median:.1} {} ({lowest:.1} to {highest:.1})",
                self.of, case.unit
            ),
        };
        if let Some(must) = self.must {
            let word = match case.better {
                Better::Higher => "at least",
                Better::Lower => "at most",
            };
            let verdict = if self.met { "met" } else { "NOT MET" };
            // Writing to a string cannot fail.
            let _ = write!(text, "  must be {word} {must}: {verdict}");
        }
        if let Some(aim) = self.aim {
            let _ = write!(text, " (aim {aim})");
        }
        text
    }
}

fn verdicts(case: &Case, budgets: &[Budget]) -> Vec<Verdict> {
    let mine = || budgets.iter().filter(|budget| budget.case == case.case);
    let mut verdicts = Vec::new();
    let Some((first, others)) = case.series.split_first() else {
        return verdicts;
    };
    for other in others {
        let budget =
            mine().find(|budget| budget.of == first.server && budget.to == Some(other.server));
        // Rounds that ran one after the other, so that what slows the machine for a while slows both.
        let pairs = first.rounds.iter().zip(&other.rounds);
        let quotients: Vec<f64> = pairs
            .map(|(ours, theirs)| ours / theirs.max(1e-9))
            .collect();
        verdicts.push(verdict(
            first.server,
            Some(other.server),
            &quotients,
            case.better,
            budget,
        ));
    }
    for budget in mine().filter(|budget| budget.to.is_none()) {
        if let Some(series) = case.series.iter().find(|series| series.server == budget.of) {
            verdicts.push(verdict(
                series.server,
                None,
                &series.rounds,
                case.better,
                Some(budget),
            ));
        }
    }
    verdicts
}

fn verdict(
    of: &'static str,
    to: Option<&'static str>,
    values: &[f64],
    better: Better,
    budget: Option<&Budget>,
) -> Verdict {
    let median = median(values);
    let must = budget.map(|budget| budget.must);
    Verdict {
        of,
        to,
        median,
        lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
        highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        must,
        aim: budget.and_then(|budget| budget.aim),
        met: must.is_none_or(|must| match better {
            Better::Higher => median >= must,
            Better::Lower => median <= must,
        }),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied();
    f64::midpoint(lower.unwrap_or(upper), upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(better: Better, ours: &[f64], theirs: &[f64]) -> Case {
        let series = |server, rounds: &[f64]| Series {
            server,
            median: median(rounds),
            rounds: rounds.to_vec(),
        };
        Case {
            case: String::from("some work"),
            unit: "events/s",
            better,
            series: vec![series("nexus", ours), series("nats", theirs)],
            verdicts: Vec::new(),
        }
    }

    const BUDGETS: [Budget; 2] = [
        Budget {
            case: "some work",
            of: "nexus",
            to: Some("nats"),
            must: 1.0,
            aim: Some(2.0),
        },
        Budget {
            case: "some work",
            of: "nexus",
            to: None,
            must: 50.0,
            aim: None,
        },
    ];

    #[test]
    fn a_ratio_is_the_median_of_rounds_and_not_of_sums() {
        let case = case(Better::Higher, &[100.0, 10.0, 90.0], &[100.0, 20.0, 30.0]);
        let verdicts = verdicts(&case, &BUDGETS);
        assert_eq!((verdicts[0].lowest, verdicts[0].median), (0.5, 1.0));
        assert!(verdicts.iter().all(|verdict| verdict.met));
    }

    #[test]
    fn a_page_shows_every_server_its_ratio_and_what_it_must() {
        let mut case = case(Better::Higher, &[40.0], &[80.0]);
        case.verdicts = verdicts(&case, &BUDGETS);
        assert_eq!(case.ratios(), "0.50 x (0.50 to 0.50)");
        assert_eq!(case.musts(), "1 x, **not met**, 50.0 events/s, **not met**");
        assert_eq!(readable(1_536.0, "KiB"), "1.5 MiB");
        assert_eq!(readable(1_530.0, "us"), "1.53 ms");
    }

    #[test]
    fn where_less_is_better_more_is_missed() {
        let case = case(Better::Lower, &[80.0], &[40.0]);
        let verdicts = verdicts(&case, &BUDGETS);
        assert!(verdicts.iter().all(|verdict| !verdict.met));
        assert!(verdicts[1].text(&case).contains("at most 50: NOT MET"));
    }
}
