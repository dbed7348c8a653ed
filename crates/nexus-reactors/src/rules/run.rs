//! A rule as a reactor.

use nexus_core::{Attempt, Event, NewEvent, Reaction, Reactor, ReactorError, ReactorOptions};
use nexus_expr::{RenderError, Scope};

use super::{Rule, action::Done};

impl Rule {
    /// The `once` key; nothing when what it is made of is missing or empty.
    fn once_key(&self, scope: &Scope<'_>) -> Result<Option<String>, RenderError> {
        match &self.once {
            // An empty key would be one for all events.
            Some(once) => Ok(once.render_if_there(scope)?.filter(|key| !key.is_empty())),
            None => Ok(None),
        }
    }

    /// Whether the event can be reacted to at all.
    fn check(&self, event: &Event) -> Result<(), ReactorError> {
        let scope = Scope::new(event, &self.catalogue);
        if scope.is_erased() {
            return Err(ReactorError::final_("the payload was erased"));
        }
        // It would run without the guard that it asks for.
        self.once_key(&scope)
            .map(|_| ())
            .map_err(|error| ReactorError::final_(format!("once: {error}")))
    }

    /// The events that follow.
    fn follow(&self, event: &Event, done: &Done) -> Result<Vec<NewEvent>, ReactorError> {
        if self.emits.is_empty() {
            return Ok(Vec::new());
        }
        let mut scope = Scope::new(event, &self.catalogue);
        match done {
            Done::NotCalled => return Ok(Vec::new()),
            Done::Skipped(None) => {}
            Done::Skipped(Some(asked)) => scope = scope.with_request(asked),
            Done::Answered(asked, answered) => {
                scope = scope.with_request(asked).with_response(answered);
            }
        }
        self.emits
            .iter()
            .map(|emit| emit.event(event, &scope))
            .collect()
    }
}

impl Reactor for Rule {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn once(&self, event: &Event) -> Option<String> {
        // What cannot be rendered fails the attempt.
        self.once_key(&Scope::new(event, &self.catalogue))
            .ok()
            .flatten()
    }

    fn target_url(&self) -> Option<String> {
        self.action.target_url()
    }

    fn rehearses(&self) -> bool {
        true
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        self.check(&attempt.event)?;
        let done = self.action.run(&attempt, self).await?;
        let emit = self.follow(&attempt.event, &done)?;
        Ok(Reaction { emit })
    }
}
