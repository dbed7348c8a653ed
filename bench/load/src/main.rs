//! The load generator of the benchmarks: on loopback, bounded in time, and it prints one JSON line.

mod agents;
mod calls;
mod command_line;
mod connection;
mod fanout;
mod frame;
mod hold;
mod http;
mod ingest;
mod latency;
mod marked;
mod paced;
mod payment;
mod reactions;
mod reader;
mod receiver;
mod redis;
mod server;
mod single;
mod tally;
mod tools;
mod upstream;
mod watch;

use std::{future::Future, io, process::ExitCode, time::Duration};

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{net::TcpListener, task::LocalSet};

use crate::command_line::{Arguments, Load, check, check_loopback};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match allow_sockets().and_then(|()| run(arguments.load)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: Load) -> io::Result<()> {
    match load {
        Load::Single(options) => {
            check(
                options.address,
                options.connections,
                options.seconds_in_all(),
            )?;
            print(&on_one_thread(single::run(&options))?)
        }
        Load::Batch {
            target,
            connections,
            batch,
        } => {
            target.check(connections)?;
            let server = target.server(1);
            let load = single::batches(
                &server,
                connections,
                batch,
                target.seconds,
                target.warmup_seconds,
            );
            print(&on_one_thread(load)?)
        }
        Load::Fanout(asked) => print(&on_one_thread(fanout::run(&asked.options()?))?),
        Load::Latency(asked) => print(&on_one_thread(latency::run(&asked.options()?))?),
        Load::Reactions(asked) => print(&on_one_thread(reactions::run(&asked.options()?))?),
        Load::Calls {
            receiver,
            concurrency,
            seconds,
        } => {
            check(receiver, concurrency, seconds)?;
            let options = calls::Options {
                receiver,
                concurrency,
                duration: Duration::from_secs(seconds),
            };
            print(&on_one_thread(calls::run(&options))?)
        }
        Load::Agents(asked) => print(&on_one_thread(agents::run(&asked.options()?))?),
        Load::Tools(options) => {
            check(options.address, options.callers, options.seconds_in_all())?;
            print(&on_one_thread(tools::run(&options))?)
        }
        Load::Paced(options) => {
            check(options.address, options.callers, options.seconds_in_all())?;
            print(&on_one_thread(paced::run(&options))?)
        }
        Load::Upstream {
            address: None,
            mood,
        } => upstream::over_stdio(mood),
        Load::Upstream {
            address: Some(address),
            mood,
        } => {
            check_loopback(address)?;
            on_one_thread(async {
                upstream::over_http(TcpListener::bind(address).await?, mood).await
            })
        }
        Load::Hold { target, sockets } => {
            target.check(sockets)?;
            on_one_thread(hold::run(&target.server(1), sockets))
        }
    }
}

/// One thread does it all: the server has the other core.
fn on_one_thread<T>(load: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, load)
}

fn print(report: &impl Serialize) -> io::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}

/// As many open files as the system lets this process have.
fn allow_sockets() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, most)?)
}
