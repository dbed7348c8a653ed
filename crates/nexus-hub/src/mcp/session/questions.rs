//! Questions of servers that a client has not answered yet, and what it says while it works on them.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::options::{PROGRESS_PER_QUESTION_MAX, QUESTIONS_PER_SESSION_MAX};
use crate::{
    Following, Id, Raw, RpcError,
    message::{
        INTERNAL_ERROR,
        meta::{progress_token, with_progress_token},
    },
};

/// The open questions of one session.
#[derive(Debug, Default)]
pub(crate) struct Questions(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<i64, Open>,
    last: i64,
    is_over: bool,
}

struct Open {
    answer: oneshot::Sender<Result<Raw, RpcError>>,
    follows: Option<Follows>,
}

/// Who wants to hear of the progress with a question, under which token.
pub(crate) struct Follows {
    token: Raw,
    following: Following,
    /// How often more it is passed on.
    left: u32,
}

/// A question that waits for its answer. Dropped when nobody waits any more.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    questions: &'a Questions,
    /// Under which it is asked; also the token of its progress.
    pub(crate) id: i64,
    pub(crate) answered: oneshot::Receiver<Result<Raw, RpcError>>,
}

impl Questions {
    /// Gets a question ready.
    ///
    /// # Errors
    /// There are too many, or nobody is there any more who could be asked.
    pub(crate) fn ask(&self) -> Result<Question<'_>, RpcError> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.0.lock();
        if state.is_over {
            return Err(RpcError::new(INTERNAL_ERROR, "the client is gone"));
        }
        if state.open.len() >= QUESTIONS_PER_SESSION_MAX {
            let why = format!("{QUESTIONS_PER_SESSION_MAX} questions to the client are open");
            return Err(RpcError::new(INTERNAL_ERROR, why));
        }
        state.last += 1;
        let id = state.last;
        let follows = None;
        state.open.insert(id, Open { answer, follows });
        Ok(Question {
            questions: self,
            id,
            answered,
        })
    }

    /// Takes the client's answer to a question; one that nobody waits for is passed over.
    pub(crate) fn answered(&self, id: Option<&Id>, outcome: Result<Raw, RpcError>) {
        let Some(Id::Number(id)) = id else {
            return;
        };
        let open = self.0.lock().open.remove(id);
        if let Some(open) = open {
            // Who asked may be gone.
            let _ = open.answer.send(outcome);
        }
    }

    /// Takes what the client says of its progress with a question, and passes it on to who asked.
    pub(crate) fn progressed(&self, params: &Raw) {
        let Some(id) = progress_token(params) else {
            return;
        };
        let told = {
            let mut state = self.0.lock();
            let open = state.open.get_mut(&id);
            let follows = open.and_then(|open| open.follows.as_mut());
            follows.and_then(|follows| {
                let params = with_progress_token(params, &follows.token)?;
                follows.left = follows.left.checked_sub(1)?;
                Some((follows.following.clone(), params))
            })
        };
        if let Some((following, params)) = told {
            following(params);
        }
    }

    /// The session has ended: nobody answers any more.
    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.is_over = true;
        state.open.clear();
    }
}

impl Question<'_> {
    /// Somebody wants to hear of the progress with it.
    pub(crate) fn follow(&self, follows: Follows) {
        if let Some(open) = self.questions.0.lock().open.get_mut(&self.id) {
            open.follows = Some(follows);
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.0.lock().open.remove(&self.id);
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Follows {
    pub(crate) fn new(token: Raw, following: Following) -> Self {
        Self {
            token,
            following,
            left: PROGRESS_PER_QUESTION_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::*;

    fn raw(text: &str) -> Raw {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn progress_reaches_who_asked_under_their_own_token_and_nobody_else() {
        let questions = Questions::default();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let follow = |question: &Question<'_>, token: &str| {
            let heard = heard.clone();
            let following: Following =
                Arc::new(move |params: Raw| heard.lock().push(params.get().to_owned()));
            question.follow(Follows::new(raw(token), following));
        };
        // Two servers that chose the same token.
        let (one, other) = (questions.ask().unwrap(), questions.ask().unwrap());
        let quiet = questions.ask().unwrap();
        follow(&one, r#""t""#);
        follow(&other, r#""t""#);
        let say = |token: &str| {
            let params = format!(r#"{{"progressToken":{token},"progress":{token}}}"#);
            questions.progressed(&raw(&params));
        };
        say(&other.id.to_string());
        say(&quiet.id.to_string());
        say("99");
        say(r#""t""#);
        questions.answered(Some(&Id::Number(one.id)), Ok(raw("1")));
        say(&one.id.to_string());
        let expected = format!(r#"{{"progressToken":"t","progress":{}}}"#, other.id);
        assert_eq!(*heard.lock(), [expected]);
    }

    #[test]
    fn nobody_is_asked_without_end_or_after_the_end() {
        let questions = Questions::default();
        let open: Vec<_> = (0..QUESTIONS_PER_SESSION_MAX)
            .map(|_| questions.ask().unwrap())
            .collect();
        assert!(questions.ask().is_err());
        drop(open);
        let mut last = questions.ask().unwrap();
        questions.end();
        assert!(last.answered.try_recv().is_err());
        assert!(questions.ask().is_err());
    }

    #[tokio::test]
    async fn answers_find_their_question_and_no_other() {
        let questions = Questions::default();
        let mut first = questions.ask().unwrap();
        let mut second = questions.ask().unwrap();
        for strange in [None, Some(Id::Number(99)), Some(Id::Text("1".into()))] {
            questions.answered(strange.as_ref(), Ok(raw("0")));
        }
        questions.answered(Some(&Id::Number(second.id)), Ok(raw("2")));
        assert!(first.answered.try_recv().is_err());
        let answer = (&mut second.answered).await.unwrap().unwrap();
        assert_eq!(answer.get(), "2");
    }
}
