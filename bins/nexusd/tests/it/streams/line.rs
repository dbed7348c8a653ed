//! A line to the daemon that breaks when it is told to, in the ways in which lines break.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Both sides see an end.
    Closed,
    /// Both sides see a reset.
    Reset,
    /// Nobody sees anything: nothing is passed on any more, and nothing is closed.
    HalfOpen,
}

/// A proxy for one client.
pub(super) struct Line {
    pub(super) address: SocketAddr,
    newest: Arc<Mutex<Option<oneshot::Sender<Fault>>>>,
    accepting: JoinHandle<()>,
}

impl Line {
    pub(super) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let newest = Arc::<Mutex<Option<oneshot::Sender<Fault>>>>::default();
        let (count, accepted) = watch::channel(0);
        let slot = newest.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (fault, faults) = oneshot::channel();
                *slot.lock().unwrap() = Some(fault);
                count.send_modify(|count| *count += 1);
                // How it ends is what the client has to deal with.
                tokio::spawn(pass_on(socket, target, faults, accepted.clone()));
            }
        });
        Self {
            address,
            newest,
            accepting,
        }
    }

    /// Breaks the newest connection; not if it has ended already.
    pub(super) fn fault(&self, fault: Fault) -> bool {
        let newest = self.newest.lock().unwrap().take();
        newest.is_some_and(|newest| newest.send(fault).is_ok())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass_on(
    mut client: TcpStream,
    target: SocketAddr,
    faults: oneshot::Receiver<Fault>,
    mut accepted: watch::Receiver<u64>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let fault = tokio::select! {
        ended = copy_bidirectional(&mut client, &mut server) => return ended.map(|_| ()),
        fault = faults => fault.unwrap_or(Fault::Closed),
    };
    match fault {
        Fault::Closed => {
            client.shutdown().await?;
            return server.shutdown().await;
        }
        Fault::Reset => {}
        Fault::HalfOpen => {
            // Until the client has long since another one, so that the number of open ones is bounded.
            let enough = *accepted.borrow() + 2;
            let _ = accepted.wait_for(|count| *count >= enough).await;
        }
    }
    client.set_zero_linger()?;
    server.set_zero_linger()
}
