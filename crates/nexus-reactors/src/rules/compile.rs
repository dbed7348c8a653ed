//! From what is written to a rule that runs: everything is checked, and every mistake told.

use std::sync::Arc;

use nexus_expr::{Template, compile_filter_with};

use super::{
    Rule, RuleConfig, RuleContext, RuleProblem,
    action::Action,
    alert::AlertAction,
    context::{Env, before},
    emit::Emit,
    http::HttpAction,
    options::options,
    problem::Problems,
    webhook::WebhookAction,
};

impl Rule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn compile(
        config: &RuleConfig,
        context: &RuleContext<'_>,
    ) -> Result<Self, Vec<RuleProblem>> {
        let mut problems = Problems::default();
        let env = Env::new(context.env);
        let catalogue = &context.catalogue;
        let mut options = options(config, catalogue, &mut problems);
        if let Some(when) = &config.when {
            match compile_filter_with(when, catalogue) {
                Ok(filter) => {
                    if let Some(options) = &mut options {
                        options.filter = Some(filter);
                    }
                }
                Err(error) => {
                    let (line, column) = (error.line, error.column);
                    let what = format!("line {line}, column {column}: {}", error.message);
                    problems.add("when", what);
                }
            }
        }
        let once = once(config, &env, &mut problems);
        let action = action(config, context, &env, &mut problems);
        let emits = emits(config, context, &env, &mut problems);
        if let (Some(options), Some(emits)) = (&options, &emits) {
            let is_guarded = config.when.is_some() || config.once.is_some();
            let own = emits.iter().find(|emit| options.on.matches(emit.topic()));
            if let Some(own) = own.filter(|_| !is_guarded) {
                let what = format!("it runs for {} itself, without when or once", own.topic());
                problems.add("emit", what);
            }
        }
        let notes = problems.take_notes();
        let made = options.zip(once).zip(action).zip(emits);
        let rule = made.map(|(((options, once), action), emits)| Self {
            options,
            catalogue: Arc::clone(catalogue),
            once,
            action,
            emits,
            notes,
        });
        problems.finish(rule)
    }
}

/// Nothing when it is a mistake; within, nothing when nothing is said.
fn once(config: &RuleConfig, env: &Env<'_>, problems: &mut Problems) -> Option<Option<Template>> {
    let Some(text) = &config.once else {
        return Some(None);
    };
    let look_up = |name: &str| env.get(name);
    match Template::compile(text, &before(&look_up)) {
        Ok(once) => {
            problems.unset("once", once.unset());
            Some(Some(once))
        }
        Err(error) => {
            problems.template("once", error);
            None
        }
    }
}

fn action(
    config: &RuleConfig,
    context: &RuleContext<'_>,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Action> {
    let said = [
        ("http", config.http.is_some()),
        ("webhook", config.webhook.is_some()),
        ("alert", config.alert.is_some()),
    ];
    let said: Vec<&str> = said
        .into_iter()
        .filter(|(_, is_said)| *is_said)
        .map(|(name, _)| name)
        .collect();
    if said.is_empty() && config.emit.is_empty() {
        let what = "it does nothing: say http, webhook, alert or emit";
        problems.add("", what);
    }
    if said.len() > 1 {
        let what = format!(
            "{} stand in one rule: a failure of one would repeat the other, so make two rules",
            said.join(" and ")
        );
        problems.add("", what);
    }
    if let Some(http) = &config.http {
        let http = HttpAction::compile(http, context, env, problems)?;
        return Some(Action::Http(Box::new(http)));
    }
    if let Some(webhook) = &config.webhook {
        let webhook = WebhookAction::compile(webhook, context, env, problems)?;
        return Some(Action::Webhook(Box::new(webhook)));
    }
    if let Some(alert) = &config.alert {
        let alert = AlertAction::compile(alert, &config.name, env, &context.alerts, problems)?;
        return Some(Action::Alert(alert));
    }
    Some(Action::Nothing)
}

fn emits(
    config: &RuleConfig,
    context: &RuleContext<'_>,
    env: &Env<'_>,
    problems: &mut Problems,
) -> Option<Vec<Emit>> {
    let follows_call = config.http.is_some() || config.webhook.is_some();
    let many = config.emit.0.len() > 1;
    let emits: Vec<Emit> = config
        .emit
        .0
        .iter()
        .enumerate()
        .filter_map(|(n, emit)| {
            let place = if many {
                format!("emit[{n}]")
            } else {
                "emit".to_owned()
            };
            Emit::compile(
                emit,
                &place,
                follows_call,
                &context.catalogue,
                env,
                problems,
            )
        })
        .collect();
    (emits.len() == config.emit.0.len()).then_some(emits)
}
