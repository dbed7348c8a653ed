//! The judge of every crash and fault test: what clients were told against what is in the log afterwards.
//!
//! Each client writes down what it is about to do and what it was told, one line each, to a place that
//! outlives the process under test ([`Journal`]). Afterwards [`Oracle::judge`] reads the lines and the log.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use nexus_core::{Digest, Event, Seq, sha256};

/// A run with fewer acknowledged events than this proves nothing.
pub const OKS_MIN: usize = 1_000;
/// What the lines of a journal begin with, so that they can share a pipe with other output.
const MARK: char = '@';

/// What one client writes down. Each line is one write, so that a crash cuts no line that another writes.
#[derive(Debug)]
pub struct Journal<W>(std::sync::Mutex<W>);

impl<W: Write> Journal<W> {
    /// A journal that is kept in `place`.
    pub fn new(place: W) -> Self {
        Self(std::sync::Mutex::new(place))
    }

    /// Ends the journal; gives where it was kept.
    pub fn into_inner(self) -> W {
        self.0
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self, line: &str) {
        let mut place = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // A journal that cannot be written has lost its reader, who decides what that means.
        let _ = place
            .write_all(format!("{MARK}{line}\n").as_bytes())
            .and_then(|()| place.flush());
    }

    /// The client is about to publish the event with this token. Each token is used once.
    pub fn invoke(&self, token: &str) {
        self.write(&format!("invoke {token}"));
    }

    /// It was acknowledged, under this number.
    pub fn ok(&self, token: &str, seq: Seq) {
        self.write(&format!("ok {token} {seq}"));
    }

    /// It was refused for certain.
    pub fn fail(&self, token: &str) {
        self.write(&format!("fail {token}"));
    }

    /// Nobody can say whether it was kept.
    pub fn unknown(&self, token: &str) {
        self.write(&format!("unknown {token}"));
    }

    /// A reader saw this event.
    pub fn saw(&self, event: &Event) {
        let hash = HEXLOWER.encode(&fingerprint(event));
        self.write(&format!("saw {} {hash}", event.seq));
    }
}

/// What a reader remembers of an event: all of it.
fn fingerprint(event: &Event) -> Digest {
    let Event {
        seq,
        id,
        topic,
        source,
        key,
        time_us,
        causes,
        payload,
    } = event;
    let head = format!("{seq} {id} {topic} {source} {key:?} {time_us} ");
    sha256(&[head.as_bytes(), causes, b" ", payload].concat())
}

/// What became of one token, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It was sent, and nothing was heard.
    Invoked,
    Ok(Seq),
    Fail,
    Unknown,
}

/// Everything that the clients wrote down.
#[derive(Debug, Default)]
pub struct Oracle {
    known: HashMap<String, Known>,
    seen: Vec<(Seq, String)>,
}

/// A run that was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// How many events were acknowledged.
    pub ok: usize,
    /// How many were refused.
    pub failed: usize,
    /// How many got no answer, or one that leaves it open.
    pub open: usize,
    /// How many of those are in the log.
    pub open_kept: usize,
    /// How many events readers saw.
    pub seen: usize,
}

/// What was wrong with a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Too little happened for the run to prove anything.
    #[error("the run is void: {oks} events were acknowledged, and at least {OKS_MIN} are needed")]
    Void {
        /// How many were acknowledged.
        oks: usize,
    },
    /// An event that was acknowledged is not in the log.
    #[error("event {token} was acknowledged as {seq} and is lost")]
    Lost {
        /// Its token.
        token: String,
        /// The number that was told.
        seq: Seq,
    },
    /// An event that was acknowledged has another number.
    #[error("event {token} was acknowledged as {told} and is {found}")]
    Moved {
        /// Its token.
        token: String,
        /// The number that was told.
        told: Seq,
        /// The number that it has.
        found: Seq,
    },
    /// An event is in the log twice.
    #[error("event {token} is in the log as {first} and as {second}")]
    Doubled {
        /// Its token.
        token: String,
        /// Once here.
        first: Seq,
        /// And once here.
        second: Seq,
    },
    /// An event that was refused is in the log.
    #[error("event {token} was refused and is in the log as {seq}")]
    Kept {
        /// Its token.
        token: String,
        /// Its number.
        seq: Seq,
    },
    /// Nobody sent this event.
    #[error("nobody sent event {seq}")]
    Invented {
        /// Its number.
        seq: Seq,
    },
    /// A number is missing.
    #[error("event {seq} is missing")]
    Gap {
        /// The number.
        seq: Seq,
    },
    /// A reader saw an event that is not in the log, or is different there.
    #[error("a reader saw another event {seq} than the one in the log")]
    Unseen {
        /// Its number.
        seq: Seq,
    },
    /// A line of the journal cannot be read.
    #[error("the journal has a line that nobody wrote: {0:?}")]
    Journal(String),
    /// The journal itself cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] io::Error),
}

impl Oracle {
    /// Reads one line; lines that are not of a journal are passed over. A line that a crash cut off is the
    /// last, and its reader does not give it.
    ///
    /// # Errors
    /// [`Wrong::Journal`].
    pub fn line(&mut self, line: &str) -> Result<(), Wrong> {
        let Some(entry) = line.strip_prefix(MARK) else {
            return Ok(());
        };
        let mut words = entry.split(' ');
        let mut next = || words.next().ok_or_else(|| Wrong::Journal(line.to_owned()));
        let (what, of) = (next()?, next()?.to_owned());
        let number = |text: &str| {
            let number = text.parse().map_err(|_| Wrong::Journal(line.to_owned()));
            number.map(Seq::new)
        };
        match what {
            "invoke" => {
                self.known.entry(of).or_insert(Known::Invoked);
            }
            "ok" => {
                let seq = number(next()?)?;
                self.known.insert(of, Known::Ok(seq));
            }
            "fail" => {
                self.known.insert(of, Known::Fail);
            }
            "unknown" => {
                self.known.insert(of, Known::Unknown);
            }
            "saw" => {
                let seq = number(&of)?;
                self.seen.push((seq, next()?.to_owned()));
            }
            _ => return Err(Wrong::Journal(line.to_owned())),
        }
        Ok(())
    }

    /// How many events were acknowledged so far.
    #[must_use]
    pub fn oks(&self) -> usize {
        let is_ok = |known: &&Known| matches!(known, Known::Ok(_));
        self.known.values().filter(is_ok).count()
    }

    /// The events of which nobody knows, to be sent again.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        self.known
            .iter()
            .filter(|(_, known)| matches!(known, Known::Invoked | Known::Unknown))
            .map(|(token, _)| token.as_str())
    }

    /// Judges a run, given the whole log in order and where an event has its token.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn judge(
        &self,
        log: &[Arc<Event>],
        token_of: impl Fn(&Event) -> Option<String>,
    ) -> Result<Judged, Wrong> {
        self.judge_after(Seq::ZERO, log, token_of)
    }

    /// Judges a run in which events up to `pruned` were removed on purpose, given what is left. Of what was
    /// acknowledged up to there it is only known that it is nowhere else.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn judge_after(
        &self,
        pruned: Seq,
        log: &[Arc<Event>],
        token_of: impl Fn(&Event) -> Option<String>,
    ) -> Result<Judged, Wrong> {
        let places = self.places(pruned, log, token_of)?;
        let mut judged = Judged {
            ok: 0,
            failed: 0,
            open: 0,
            open_kept: 0,
            seen: self.seen.len(),
        };
        for (token, known) in &self.known {
            let found = places.get(token).copied();
            let token = token.clone();
            match (*known, found) {
                (Known::Ok(told), Some(found)) if told == found => judged.ok += 1,
                (Known::Ok(told), Some(found)) => return Err(Wrong::Moved { token, told, found }),
                (Known::Ok(told), None) if told <= pruned => judged.ok += 1,
                (Known::Ok(seq), None) => return Err(Wrong::Lost { token, seq }),
                (Known::Fail, Some(seq)) => return Err(Wrong::Kept { token, seq }),
                (Known::Fail, None) => judged.failed += 1,
                (Known::Invoked | Known::Unknown, found) => {
                    judged.open += 1;
                    judged.open_kept += usize::from(found.is_some());
                }
            }
        }
        for (seq, hash) in self.seen.iter().filter(|(seq, _)| *seq > pruned) {
            let event = usize::try_from(seq.previous().get() - pruned.get())
                .ok()
                .and_then(|n| log.get(n));
            if event.is_none_or(|event| HEXLOWER.encode(&fingerprint(event)) != *hash) {
                return Err(Wrong::Unseen { seq: *seq });
            }
        }
        if judged.ok < OKS_MIN {
            return Err(Wrong::Void { oks: judged.ok });
        }
        Ok(judged)
    }

    /// Where each token is in the log.
    fn places(
        &self,
        pruned: Seq,
        log: &[Arc<Event>],
        token_of: impl Fn(&Event) -> Option<String>,
    ) -> Result<HashMap<String, Seq>, Wrong> {
        let mut places = HashMap::new();
        for (expected, event) in (pruned.get() + 1..).map(Seq::new).zip(log) {
            if event.seq != expected {
                return Err(Wrong::Gap { seq: expected });
            }
            let seq = event.seq;
            let token = token_of(event).filter(|token| self.known.contains_key(token));
            let token = token.ok_or(Wrong::Invented { seq })?;
            if let Some(first) = places.insert(token.clone(), seq) {
                let second = seq;
                return Err(Wrong::Doubled {
                    token,
                    first,
                    second,
                });
            }
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Source, Topic};

    use super::*;

    fn log(tokens: &[&str]) -> Vec<Arc<Event>> {
        (1..)
            .zip(tokens)
            .map(|(seq, token)| {
                Arc::new(Event {
                    seq: Seq::new(seq),
                    id: "01890000-0000-7000-8000-000000000000".parse().unwrap(),
                    topic: Topic::parse("a.b").unwrap(),
                    source: Source::nexus(),
                    key: None,
                    time_us: 0,
                    causes: "{}".into(),
                    payload: (*token).to_owned().into(),
                })
            })
            .collect()
    }

    /// A run of 1,000 right events, and then what `more` adds to it.
    fn judge(lines: &[&str], more: &[&str]) -> Result<Judged, Wrong> {
        let right: Vec<String> = (1..=1_000).map(|n| format!("t{n}")).collect();
        let mut oracle = Oracle::default();
        for (n, token) in right.iter().enumerate() {
            oracle.line(&format!("@invoke {token}")).unwrap();
            oracle.line(&format!("@ok {token} {}", n + 1)).unwrap();
        }
        for line in lines {
            oracle.line(line).unwrap();
        }
        let tokens: Vec<&str> = right
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        oracle.judge(&log(&tokens), |event| {
            Some(String::from_utf8_lossy(&event.payload).into_owned())
        })
    }

    #[test]
    fn a_right_run_is_counted() {
        let lines = [
            "other output",
            "@invoke a",
            "@invoke b",
            "@unknown b",
            "@invoke c",
            "@fail c",
        ];
        let expected = Judged {
            ok: 1_000,
            failed: 1,
            open: 2,
            open_kept: 1,
            seen: 0,
        };
        assert_eq!(judge(&lines, &["b"]).unwrap(), expected);
    }

    #[test]
    fn every_wrong_is_found() {
        let is = |result: Result<Judged, Wrong>, wrong: &str| {
            let found = format!("{:?}", result.unwrap_err());
            assert!(found.starts_with(wrong), "{found} instead of {wrong}");
        };
        is(judge(&["@ok a 1001"], &[]), "Lost");
        is(judge(&["@ok a 1002", "@invoke b"], &["a", "b"]), "Moved");
        is(judge(&["@fail a"], &["a"]), "Kept");
        is(judge(&["@invoke a"], &["a", "a"]), "Doubled");
        is(judge(&[], &["a"]), "Invented");
        is(judge(&["@saw 7 00"], &[]), "Unseen");
        is(judge(&["@saw 1001 00"], &[]), "Unseen");
        is(judge(&["@fail t1"], &[]), "Kept");
        let mut gap = log(&["a", "b"]);
        gap.remove(0);
        let void = Oracle::default();
        is(void.judge(&gap, |_| None), "Gap");
        is(void.judge(&[], |_| None), "Void");
        assert!(Oracle::default().line("@invented x").is_err());
    }

    #[test]
    fn a_journal_is_read_back() {
        let journal = Journal::new(Vec::new());
        journal.invoke("a");
        let event = &log(&["a"])[0];
        journal.ok("a", event.seq);
        journal.saw(event);
        let text = String::from_utf8(journal.into_inner()).unwrap();
        let mut oracle = Oracle::default();
        text.lines().for_each(|line| oracle.line(line).unwrap());
        assert_eq!(oracle.oks(), 1);
        assert_eq!(oracle.open().count(), 0);
        let judged = oracle.judge(std::slice::from_ref(event), |_| Some("a".into()));
        assert!(
            matches!(judged, Err(Wrong::Void { oks: 1 })),
            "everything else is right"
        );
    }
}
