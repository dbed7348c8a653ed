//! A program under test: started in an empty folder, asked over HTTP, and ended with the test.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// On which of its outputs a program says where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A running program that listens on a free port of 127.0.0.1.
pub struct Program {
    child: Child,
    address: String,
    /// Kept open, so that the program can go on writing.
    _output: Box<dyn BufRead>,
    _folder: TempDir,
}

impl Program {
    /// Starts a program with port 0 and a secret, and waits until it says where it listens.
    ///
    /// # Errors
    /// When it does not start, or ends without a word of its address.
    pub fn start(program: &str, secret: &str, says: Says) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let piped_if = |wanted| {
            if says == wanted {
                Stdio::piped()
            } else {
                Stdio::null()
            }
        };
        let mut child = Command::new(program)
            .current_dir(folder.path())
            .env_clear()
            .envs([
                ("PORT", "0"),
                ("AGENTS_PORT", "0"),
                ("NEXUS_SECRET", secret),
                ("LOG_FORMAT", "json"),
            ])
            .stdout(piped_if(Says::Out))
            .stderr(piped_if(Says::Err))
            .spawn()?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let output: Option<Box<dyn Read>> = out
            .map(|out| Box::new(out) as Box<dyn Read>)
            .or(err.map(|err| Box::new(err) as Box<dyn Read>));
        let mut output =
            BufReader::new(output.ok_or_else(|| io::Error::other("it has no output"))?);
        let port = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("127.0.0.1:")?.1.to_owned()))
            .ok_or_else(|| io::Error::other("it ended without saying where it listens"))?;
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        Ok(Self {
            child,
            address: format!("127.0.0.1:{port}"),
            _output: Box::new(output),
            _folder: folder,
        })
    }

    /// Sends a whole request, which has to ask for `Connection: close`, and gives the whole answer.
    ///
    /// # Errors
    /// When the program does not answer.
    pub fn ask(&self, request: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
