//! Views that are kept ready: one for all users of whom nothing is said, and one for each of the others.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::{
    Caller, Error,
    handle::Shared,
    view::{View, build},
};

/// The views that were asked for lately. A view that is not of the present is made anew when it is asked for.
#[derive(Default)]
pub(crate) struct Views {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By user and namespace; the empty user is everybody who has nothing of their own.
    views: HashMap<Arc<str>, HashMap<Arc<str>, Ready>>,
    count: usize,
    asked: u64,
}

struct Ready {
    view: Arc<View>,
    /// When it was last asked for, counted in questions.
    asked: u64,
}

impl Views {
    /// What a caller may use in a namespace, as it is now.
    pub(crate) fn get(
        &self,
        shared: &Shared,
        caller: &Caller,
        namespace: &str,
    ) -> Result<Arc<View>, Error> {
        let snapshot = shared.snapshot.load();
        let policy = shared.permissions.generation();
        let user = &*caller.user;
        let has_own = snapshot.owners.contains(user) || shared.permissions.has_own(user);
        let user = has_own.then_some(user);
        let class = user.unwrap_or_default();
        {
            let mut kept = self.kept.lock();
            if let Some(view) = kept.find(class, namespace)
                && view.generation == snapshot.generation
                && view.policy == policy
            {
                return Ok(view);
            }
        }
        // Made without the lock: who asks for another view does not wait. Two may make the same.
        let permissions = &shared.permissions;
        let view = build::build(
            &snapshot,
            permissions,
            policy,
            &shared.options,
            user,
            namespace,
        )?;
        let view = Arc::new(view);
        let mut kept = self.kept.lock();
        kept.put(class, &view, shared.options.views_max);
        Ok(view)
    }
}

impl Kept {
    fn find(&mut self, class: &str, namespace: &str) -> Option<Arc<View>> {
        self.asked += 1;
        let ready = self.views.get_mut(class)?.get_mut(namespace)?;
        ready.asked = self.asked;
        Some(ready.view.clone())
    }

    fn put(&mut self, class: &str, view: &Arc<View>, views_max: usize) {
        if self.count >= views_max.max(1) {
            self.drop_half();
        }
        let asked = self.asked;
        let of_class = self.views.entry(class.into()).or_default();
        let ready = Ready {
            view: view.clone(),
            asked,
        };
        if of_class.insert(view.namespace.clone(), ready).is_none() {
            self.count += 1;
        }
    }

    /// Drops the half that was not asked for the longest.
    fn drop_half(&mut self) {
        let all = self.views.values().flat_map(HashMap::values);
        let mut asked: Vec<u64> = all.map(|ready| ready.asked).collect();
        asked.sort_unstable();
        let since = asked.get(asked.len() / 2).copied().unwrap_or_default();
        for of_class in self.views.values_mut() {
            of_class.retain(|_, ready| ready.asked > since);
        }
        self.views.retain(|_, of_class| !of_class.is_empty());
        self.count = self.views.values().map(HashMap::len).sum();
    }
}
