//! Any sequence of what sessions can do with work ends as the table says, over restarts too.

use nexus_agents::{Action, Error, Handle, SessionId, WorkId};
use nexus_core::Seq;
use proptest::prelude::*;

use crate::support::{World, options, session, work};

/// Which token somebody shows.
#[derive(Debug, Clone, Copy)]
enum Shown {
    None,
    Newest,
    First,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Act(usize, usize, Action, Shown),
    Restart,
}

/// How one item stands, told naively.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    holder: Option<usize>,
    done_by: Option<usize>,
    first: Option<Seq>,
    newest: Option<Seq>,
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop::sample::select(vec![
        Action::Claim,
        Action::Renew,
        Action::Release,
        Action::Complete,
    ]);
    let shown = prop::sample::select(vec![Shown::None, Shown::Newest, Shown::First]);
    prop_oneof![
        12 => (0..3_usize, 0..3_usize, action, shown)
            .prop_map(|(by, item, action, shown)| Step::Act(by, item, action, shown)),
        1 => Just(Step::Restart),
    ]
}

/// What becomes of an action: a code, or `ok`.
fn expected(item: &Item, by: usize, action: Action, token: Option<Seq>) -> &'static str {
    let is_stale = action != Action::Claim && token.is_some() && token != item.newest;
    match (item.done_by, item.holder) {
        (Some(done_by), _) if action == Action::Complete && done_by == by => {
            if is_stale {
                "stale-claim"
            } else {
                "ok"
            }
        }
        (Some(_), _) => "work-completed",
        (None, None) if action == Action::Claim => "ok",
        (None, None) => "not-found",
        (None, Some(holder)) if holder != by => match action {
            Action::Claim => "work-held",
            Action::Renew | Action::Release | Action::Complete => "stale-claim",
        },
        (None, Some(_)) if is_stale => "stale-claim",
        (None, Some(_)) => "ok",
    }
}

async fn act(
    agents: &Handle,
    (by, work_id): (&SessionId, &WorkId),
    action: Action,
    token: Option<Seq>,
) -> Result<Seq, Error> {
    match action {
        Action::Claim => Ok(agents.claim(by, work_id, "d", None).await?.claim.token),
        Action::Renew => Ok(agents.renew(by, work_id, token).await?.claim.token),
        Action::Release => Ok(agents.release(by, work_id, token).await?.token),
        Action::Complete => Ok(agents.complete(by, work_id, token).await?.token),
    }
}

async fn run(steps: Vec<Step>) {
    let mut world = World::new().await;
    let mut items = [Item::default(); 3];
    for step in steps {
        let Step::Act(by, n, action, shown) = step else {
            world = world.restart(options()).await;
            continue;
        };
        let item = &mut items[n];
        let token = match shown {
            Shown::None => None,
            Shown::Newest => item.newest,
            Shown::First => item.first,
        };
        let names = (&session(&format!("s{by}")), &work(&format!("w{n}")));
        let answered = act(&world.agents, names, action, token).await;
        let code = match &answered {
            Ok(_) => "ok",
            Err(error) => nexus_core::Coded::code(error),
        };
        assert_eq!(code, expected(item, by, action, token), "{step:?} {item:?}");
        let Ok(granted) = answered else {
            continue;
        };
        match action {
            Action::Claim if item.holder.is_none() => {
                assert!(item.newest < Some(granted), "tokens only grow");
                item.holder = Some(by);
                item.newest = Some(granted);
                item.first = item.first.or(item.newest);
            }
            Action::Claim | Action::Renew => assert_eq!(item.newest, Some(granted)),
            Action::Release => item.holder = None,
            Action::Complete => {
                item.holder = None;
                item.done_by = Some(by);
            }
        }
    }
    let held: Vec<_> = world
        .agents
        .claims(None)
        .iter()
        .map(|granted| granted.claim.token)
        .collect();
    let mut naive: Vec<_> = items
        .iter()
        .filter(|item| item.holder.is_some())
        .filter_map(|item| item.newest)
        .collect();
    naive.sort();
    assert_eq!(held, naive);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_sequence_ends_as_the_table_says(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(steps));
    }
}
