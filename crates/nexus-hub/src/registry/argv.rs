//! Which programs may be started, and with which arguments: a list of what is allowed, and a grammar.
//!
//! Whoever decides what is started decides what runs here. So there is no shell, a program is named and not
//! written as a line, and of the two that fetch what they run the package has to be named with its exact
//! version before anything else could change what is fetched.

mod package;

use nexus_http::Fault;

use super::options::{ARG_BYTES_MAX, ARGS_MAX};

pub(super) use package::Runner;

/// What starts whatever it is told to: never, whoever asks.
const STARTERS: &[&str] = &[
    "ash",
    "bash",
    "busybox",
    "chroot",
    "cmd",
    "cmd.exe",
    "csh",
    "dash",
    "doas",
    "elvish",
    "env",
    "eval",
    "exec",
    "fish",
    "ksh",
    "mksh",
    "nohup",
    "nu",
    "osascript",
    "parallel",
    "pkexec",
    "powershell",
    "powershell.exe",
    "pwsh",
    "rbash",
    "runuser",
    "script",
    "setpriv",
    "setsid",
    "sh",
    "ssh",
    "stdbuf",
    "su",
    "sudo",
    "systemd-run",
    "tcsh",
    "timeout",
    "tmux",
    "unshare",
    "watch",
    "xargs",
    "zsh",
];
/// Judges a program and its arguments. `programs` are those that may be started with any.
pub(super) fn check(
    command: Option<&str>,
    args: &[String],
    programs: &[String],
    faults: &mut Vec<Fault>,
) {
    let before = faults.len();
    check_args(args, faults);
    let Some(command) = command else {
        faults.push(Fault::new("/command", "is required"));
        return;
    };
    if let Some(rule) = refused(command) {
        faults.push(Fault::new("/command", rule));
        return;
    }
    if programs.iter().any(|program| program == command) {
        return;
    }
    match Runner::named(command) {
        None => {
            let detail = "must be `npx` or `uvx`, or a program that the configuration allows for an operator";
            faults.push(Fault::new("/command", detail));
        }
        Some(runner) if faults.len() == before => {
            if let Err(rule) = runner.package(args) {
                faults.push(Fault::new("/args", rule));
            }
        }
        Some(_) => {}
    }
}

/// The rule that a program's name breaks, whoever asks for it.
fn refused(command: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '/');
    let is_path = command.contains('/');
    if command.is_empty() || command.len() > ARG_BYTES_MAX || !command.chars().all(is_plain) {
        return Some("must be the name or the path of one program, without arguments");
    }
    if command.starts_with('-') || (is_path && !command.starts_with('/')) {
        return Some("must be a name, or a path from the root");
    }
    if command.split('/').any(|part| part == "..") {
        return Some("must be a path without `..`");
    }
    let name = command
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_starter = STARTERS.contains(&name.as_str());
    is_starter.then_some("must not be a shell, or a program that starts another")
}

fn check_args(args: &[String], faults: &mut Vec<Fault>) {
    if args.len() > ARGS_MAX {
        faults.push(Fault::new("/args", format!("must be at most {ARGS_MAX}")));
        return;
    }
    for (index, arg) in args.iter().enumerate() {
        let pointer = format!("/args/{index}");
        if arg.len() > ARG_BYTES_MAX {
            faults.push(Fault::new(
                pointer,
                format!("must have at most {ARG_BYTES_MAX} bytes"),
            ));
        } else if arg.chars().any(char::is_control) {
            faults.push(Fault::new(pointer, "must not have control characters"));
        }
    }
}

/// What may be told of a program and its arguments: the package, which is no secret.
pub(super) fn target(command: &str, args: &[String]) -> String {
    let package = Runner::named(command).and_then(|runner| runner.package(args).ok());
    match package {
        Some(package) => format!("{command} {package}"),
        None => command.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        package::{is_npm_name, is_npm_version},
        *,
    };

    fn faults(command: &str, args: &[&str], programs: &[&str]) -> Vec<Fault> {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let mut faults = Vec::new();
        check(Some(command), &owned(args), &owned(programs), &mut faults);
        faults
    }

    #[test]
    fn packages_with_an_exact_version_may_be_run() {
        for (command, args) in [
            ("npx", &["-y", "@brave/brave-search-mcp-server@2.1.4"][..]),
            (
                "npx",
                &["--yes", "server@0.0.1-beta.2", "--headless", "-c", "x"],
            ),
            ("npx", &["server@10.20.30+build.7"]),
            (
                "uvx",
                &["mcp-server-time==2026.10.19", "--local-timezone", "UTC"],
            ),
            ("uvx", &["mcp_server.fetch@1.0rc1"]),
        ] {
            assert_eq!(faults(command, args, &[]), [], "{command} {args:?}");
        }
    }

    #[test]
    fn what_could_run_something_else_is_refused() {
        for (command, args) in [
            ("npx", &[][..]),
            ("npx", &["-y"]),
            ("npx", &["server"]),
            ("npx", &["-y", "server@latest"]),
            ("npx", &["-y", "server@^1.2.3"]),
            ("npx", &["-y", "server@1.2"]),
            ("npx", &["-y", "server@1.2.x"]),
            ("npx", &["-y", "server@1.2.3 || 2.0.0"]),
            ("npx", &["-c", "id", "server@1.2.3"]),
            ("npx", &["--call=id", "server@1.2.3"]),
            ("npx", &["-y", "-c", "id"]),
            ("npx", &["--node-options=--require=/srv/x", "server@1.2.3"]),
            ("npx", &["-p", "evil@1.0.0", "server@1.2.3"]),
            ("npx", &["--registry=http://evil.test", "server@1.2.3"]),
            ("npx", &["-y", "-y", "server@1.2.3"]),
            ("npx", &["--", "server@1.2.3"]),
            ("npx", &["-y", "git+https://evil.test/x.git@1.2.3"]),
            ("npx", &["-y", "https://evil.test/x.tgz"]),
            ("npx", &["-y", "file:../x@1.2.3"]),
            ("npx", &["-y", "/srv/x@1.2.3"]),
            ("npx", &["-y", "./x@1.2.3"]),
            ("npx", &["-y", "github:a/b@1.2.3"]),
            ("npx", &["-y", "alias@npm:evil@1.2.3"]),
            ("npx", &["-y", "@scope@1.2.3"]),
            ("npx", &["-y", "@scope/@1.2.3"]),
            ("npx", &["-y", "../../x@1.2.3"]),
            ("npx", &["-y", "Server@1.2.3"]),
            ("npx", &["-y", "server@1.2.3\n-c"]),
            ("npx", &["-y", "server@1.2.3\0"]),
            ("uvx", &["mcp-server-time"]),
            ("uvx", &["mcp-server-time>=1.0"]),
            ("uvx", &["mcp-server-time==1.*"]),
            ("uvx", &["mcp-server-time==1.0,evil"]),
            ("uvx", &["mcp-server-time@latest"]),
            ("uvx", &["--from", "evil==1.0", "x==1.0"]),
            ("uvx", &["--with=evil", "x==1.0"]),
            ("uvx", &["--index-url=http://evil.test", "x==1.0"]),
            ("uvx", &["git+https://evil.test/x@1.0"]),
            ("uvx", &["x @ https://evil.test/x.whl"]),
            ("uvx", &["-x==1.0"]),
            ("docker", &["run", "-v", "/:/host", "x"]),
            ("docker", &["run", "--privileged", "x"]),
            ("docker", &["run", "--network", "host", "x"]),
            ("node", &["-e", "process.exit()"]),
            ("python3", &["-c", "import os"]),
            ("deno", &["run", "-A", "x.ts"]),
            ("bunx", &["x@1.2.3"]),
            ("curl", &["http://evil.test"]),
            ("/usr/bin/npx", &["-y", "server@1.2.3"]),
            ("npx -y server@1.2.3", &[]),
            ("npx;id", &["server@1.2.3"]),
            ("$(id)", &[]),
            ("`id`", &[]),
            ("NPX", &["server@1.2.3"]),
            ("npx\n", &["server@1.2.3"]),
            ("./npx", &["server@1.2.3"]),
            ("../npx", &["server@1.2.3"]),
            ("", &["server@1.2.3"]),
        ] {
            assert!(!faults(command, args, &[]).is_empty(), "{command} {args:?}");
        }
    }

    #[test]
    fn what_starts_anything_is_refused_also_when_the_configuration_has_it() {
        for program in [
            "sh",
            "/bin/bash",
            "env",
            "sudo",
            "xargs",
            "/usr/bin/PWSH",
            "/bin/../bin/sh",
        ] {
            assert!(
                !faults(program, &["-c", "id"], &[program]).is_empty(),
                "{program}"
            );
        }
        assert_eq!(
            faults("/usr/bin/node", &["server.js"], &["/usr/bin/node"]),
            []
        );
        assert_eq!(faults("node", &["-e", "1"], &["node"]), []);
        assert!(!faults("node", &["server.js"], &["/usr/bin/node"]).is_empty());
        // Control characters are nobody's.
        assert!(!faults("node", &["a\nb"], &["node"]).is_empty());
    }

    #[test]
    fn arguments_are_bounded() {
        let many: Vec<&str> = std::iter::repeat_n("x", ARGS_MAX).collect();
        assert_eq!(faults("node", &many, &["node"]), []);
        let more: Vec<&str> = std::iter::repeat_n("x", ARGS_MAX + 1).collect();
        assert_eq!(faults("node", &more, &["node"])[0].pointer, "/args");
        let long = "x".repeat(ARG_BYTES_MAX + 1);
        assert_eq!(
            faults("node", &["x", &long], &["node"])[0].pointer,
            "/args/1"
        );
    }

    #[test]
    fn only_the_package_is_told() {
        let args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let told = target("npx", &args(&["-y", "server@1.2.3", "--token=hunter2"]));
        assert_eq!(told, "npx server@1.2.3");
        assert_eq!(target("node", &args(&["x.js", "hunter2"])), "node");
    }

    proptest! {
        #[test]
        fn whatever_is_allowed_names_its_package_first(
            args in prop::collection::vec("[-a-z@/.=0-9 ;$`|&^*]{0,24}", 0..4),
        ) {
            let mut faults = Vec::new();
            check(Some("npx"), &args, &[], &mut faults);
            if faults.is_empty() {
                let package = args.iter().find(|arg| *arg != "-y" && *arg != "--yes").unwrap();
                prop_assert!(!package.starts_with('-'));
                let (name, version) = package.rsplit_once('@').unwrap();
                prop_assert!(is_npm_name(name) && is_npm_version(version));
                prop_assert!(!package.contains([' ', ';', '$', '`', '|', '&', '^', '*', '=']));
            }
        }
    }
}
