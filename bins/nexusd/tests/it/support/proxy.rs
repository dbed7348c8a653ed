//! A way to a server that a test can cut, and can lead to another server.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A proxy on a port that the system chose. It only passes bytes on.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    /// Where connections lead; nowhere while there is nothing.
    target: Option<SocketAddr>,
    open: Vec<TcpStream>,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            target: Some(target),
            open: Vec::new(),
        }));
        let stop = Arc::<AtomicBool>::default();
        let (shared, stopped) = (state.clone(), stop.clone());
        let accepting = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // Dropped, and so closed, where there is nothing behind it.
                let _ = join(client, &mut shared.lock().unwrap());
            }
        });
        Self {
            address,
            state,
            stop,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection where it stands, and lets new ones lead to `target`, or nowhere.
    pub(crate) fn cut(&self, target: Option<SocketAddr>) {
        let mut state = self.state.lock().unwrap();
        state.target = target;
        for stream in state.open.drain(..) {
            // Whoever has left already needs no telling.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn join(client: TcpStream, state: &mut State) -> io::Result<()> {
    let target = state.target.ok_or(io::ErrorKind::NotConnected)?;
    let server = TcpStream::connect(target)?;
    for (mut from, mut to) in [
        (client.try_clone()?, server.try_clone()?),
        (server.try_clone()?, client.try_clone()?),
    ] {
        thread::spawn(move || {
            // It ends when either side has left or the test has cut it.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    state.open.extend([client, server]);
    Ok(())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.cut(None);
        // Wakes it up, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
