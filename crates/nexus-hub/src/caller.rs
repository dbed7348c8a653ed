//! Who asks, and as which user: whose servers, permissions and limits count.

use std::sync::Arc;

use nexus_core::{Principal, Scope, Source};

use crate::Caller;

/// How the sources of people begin.
const USER_PREFIX: &str = "user:";

impl Caller {
    /// Somebody who proved who they are, outside of any session.
    #[must_use]
    pub fn of(principal: Principal) -> Self {
        Self {
            user: user_of(principal.source()),
            is_operator: principal.scopes().has(Scope::Operate),
            session: None,
            principal,
        }
    }

    /// The same, for another user: for operators, who may.
    #[must_use]
    pub fn acting_for(mut self, user: &str) -> Self {
        self.user = user.into();
        self
    }

    /// Whether they may do more than look: call tools, and whatever changes something.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.principal.scopes().has(Scope::Publish)
    }
}

/// The user that a source stands for. People are known by their name, others by what they are and their name;
/// so is a person whose name could be taken for that.
pub(crate) fn user_of(source: &Source) -> Arc<str> {
    let source = source.as_str();
    let name = source.strip_prefix(USER_PREFIX);
    name.filter(|name| !name.contains(':'))
        .unwrap_or(source)
        .into()
}

/// The source that a user is, as [`user_of`] reads it again.
pub(crate) fn source_of(user: &str) -> Result<Source, nexus_core::Error> {
    match user.contains(':') {
        true => Source::parse(user),
        false => Source::parse(Source::user(user).as_str()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_are_known_by_their_name_and_nobody_by_that_of_another() {
        let of = |source: Source| user_of(&source).to_string();
        assert_eq!(of(Source::user("ana")), "ana");
        assert_eq!(of(Source::node("flowpay")), "node:flowpay");
        assert_eq!(of(Source::user("node:flowpay")), "user:node:flowpay");
        assert_eq!(of(Source::nexus()), "nexus");
    }

    proptest! {
        #[test]
        fn users_that_differ_stay_apart(one in "[a-z:]{1,12}", other in "[a-z:]{1,12}") {
            let sources = |name: &str| [Source::user(name), Source::node(name), Source::session(name)];
            for first in sources(&one) {
                prop_assert_eq!(&source_of(&user_of(&first)).unwrap(), &first);
                for second in sources(&other) {
                    prop_assert_eq!(first == second, user_of(&first) == user_of(&second));
                }
            }
        }
    }
}
