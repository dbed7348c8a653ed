//! How many connections there may be, and how they end when the server does.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use nexus_http::{Access, Call, Connections, Reply, Route, ServerOptions};
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore, mpsc},
    time::sleep,
};

use super::support::{Answer, Client, Running, get, options, post, routes, soon};

async fn hello(client: &mut Client) -> Answer {
    client.ask(&get("/hello", "")).await
}

/// Until a place is free for a new connection.
async fn admitted(server: &Running) -> Client {
    soon(async {
        loop {
            let mut client = server.client().await;
            if hello(&mut client).await.status() == 200 {
                return client;
            }
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// Two listeners, one bound: the connections of one leave no room at the other.
#[tokio::test]
async fn servers_may_count_their_connections_together() {
    let together = Connections::new(2, 0);
    let options = || ServerOptions {
        connections: Some(together.clone()),
        // Not what counts.
        connections_max: 1,
        ..options()
    };
    let one = Running::start(routes(), options()).await;
    let other = Running::start(routes(), options()).await;
    let (mut first, mut second) = (one.client().await, other.client().await);
    assert_eq!(hello(&mut first).await.status(), 200);
    assert_eq!(hello(&mut second).await.status(), 200);
    for server in [&one, &other] {
        let mut third = server.client().await;
        third.answer().await.assert_problem(503, "unavailable");
    }
    drop(first);
    admitted(&other).await;
}

#[tokio::test]
async fn one_connection_too_many_is_refused_until_another_ends() {
    for options in [
        ServerOptions {
            connections_max: 2,
            ..options()
        },
        ServerOptions {
            connections_per_address_max: 2,
            ..options()
        },
    ] {
        let server = Running::start(routes(), options).await;
        let mut first = server.client().await;
        let mut second = server.client().await;
        assert_eq!(hello(&mut first).await.status(), 200);
        assert_eq!(hello(&mut second).await.status(), 200);

        let mut third = server.client().await;
        let refused = third.answer().await;
        refused.assert_problem(503, "unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(third.is_closed().await);

        drop(first);
        admitted(&server).await;
        assert_eq!(hello(&mut second).await.status(), 200);
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_not_one_address() {
    let options = ServerOptions {
        connections_per_address_max: 1,
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..options()
    };
    let server = Running::start(routes(), options).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = server.client().await;
        assert_eq!(hello(&mut client).await.status(), 200);
        clients.push(client);
    }
}

/// A route that says when it runs and waits to be let go.
fn gate() -> (Route, Arc<Semaphore>, Arc<Semaphore>) {
    let (started, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (tell, wait) = (Arc::clone(&started), Arc::clone(&go));
    let route = Route::get("/gate", Access::Open, move |_| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.add_permits(1);
            let _ = wait.acquire().await;
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        }
    });
    (route, started, go)
}

#[tokio::test]
async fn draining_answers_what_is_in_flight_and_closes_the_rest() {
    let (gate, started, go) = gate();
    let mut routes = routes();
    routes.push(gate);
    let server = Running::start(routes, options()).await;
    let mut fresh = server.client().await;
    let mut idle = server.client().await;
    assert_eq!(hello(&mut idle).await.status(), 200);
    let mut busy = server.client().await;
    busy.send(&get("/gate", "")).await;
    let _ = soon(started.acquire()).await.unwrap();

    server.shutdown.cancel();
    assert!(
        idle.is_closed().await,
        "an idle connection is closed at once"
    );
    assert!(fresh.is_closed().await, "so is one that has not been used");
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
    assert!(
        !server.ended.is_finished(),
        "the request is still in flight"
    );

    go.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.header("connection"), Some("close"));
    soon(server.ended).await.unwrap();
}

#[tokio::test]
async fn draining_does_not_wait_for_ever() {
    let (gate, started, _go) = gate();
    let options = ServerOptions {
        drain_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = Running::start(vec![gate], options).await;
    let mut busy = server.client().await;
    busy.send(&get("/gate", "")).await;
    let _ = soon(started.acquire()).await.unwrap();
    server.shutdown.cancel();
    soon(server.ended).await.unwrap();
    assert!(busy.is_closed().await);
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let server = Running::start(routes(), options()).await;
    let mut client = server.client().await;
    assert_eq!(hello(&mut client).await.status(), 200);
    server.ended.abort();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_change_goes_on_to_its_end_when_the_caller_goes_away() {
    // Each route says that it has begun, waits, and says how it ended: one that was dropped says nothing.
    let changes = |begun: mpsc::UnboundedSender<()>, go_on: Arc<Notify>| {
        let (ended, how) = mpsc::unbounded_channel();
        let handler = move |_: Call| {
            let (begun, go_on, ended) = (begun.clone(), go_on.clone(), ended.clone());
            async move {
                let dropped = DropSays(ended);
                begun.send(()).unwrap();
                go_on.notified().await;
                dropped.ended();
                Ok(Reply::empty(StatusCode::NO_CONTENT))
            }
        };
        (handler, how)
    };
    let go_on = Arc::new(Notify::new());
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (whole, mut whole_ends) = changes(begun.clone(), go_on.clone());
    let (broken, mut broken_ends) = changes(begun, Arc::default());
    let routes = vec![
        Route::post("/whole", Access::Open, whole).to_the_end(),
        Route::post("/broken", Access::Open, broken),
    ];
    let server = Running::start(routes, options()).await;
    for path in ["/broken", "/whole"] {
        let mut client = server.client().await;
        client.send(&post(path, "", "")).await;
        soon(begins.recv()).await.unwrap();
    }
    // The first tells that the server has seen that its caller went.
    assert_eq!(soon(broken_ends.recv()).await, Some("dropped"));
    go_on.notify_one();
    assert_eq!(soon(whole_ends.recv()).await, Some("ended"));
}

#[tokio::test]
async fn a_change_that_panics_is_500() {
    let route = Route::post("/panic", Access::Open, |_| async { panic!("on purpose") });
    let server = Running::start(vec![route.to_the_end()], options()).await;
    let answer = server.ask(&post("/panic", "", "")).await;
    answer.assert_problem(500, "internal");
}

/// Says how the work ended that holds it.
struct DropSays(mpsc::UnboundedSender<&'static str>);

impl DropSays {
    fn ended(self) {
        self.0.send("ended").unwrap();
    }
}

impl Drop for DropSays {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}
