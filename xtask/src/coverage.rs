//! `cargo xtask coverage`: which lines the tests run, reported, not chased.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    error::{Error, Result},
    process::{cargo, find, run, stdout_of},
    setup,
    workspace::Workspace,
};

/// Installs what is missing, runs the tests and prints the table.
pub(crate) fn report(workspace: &Workspace) -> Result<()> {
    let ready = setup::for_tests(&workspace.root, &workspace.tools())?;
    for left_out in &ready.left_out {
        println!("{left_out}");
    }
    let has_tool = || stdout_of(cargo().args(["llvm-cov", "--version"])).is_ok();
    if !has_tool() {
        run(cargo().args(["install", "cargo-llvm-cov", "--locked"]))?;
    }
    let mut tests = cargo();
    tests.arg("llvm-cov");
    if ready.nextest {
        tests.arg("nextest");
    }
    tests
        .args(["--release", "--workspace"])
        .current_dir(&workspace.root);
    for (name, value) in &ready.variables {
        tests.env(name, value);
    }
    if let Some(llvm) = llvm()? {
        tests.env("LLVM_COV", llvm.cov);
        tests.env("LLVM_PROFDATA", llvm.profdata);
    }
    run(&mut tests)
}

/// The two programs that read what the instrumented tests wrote.
struct Llvm {
    cov: PathBuf,
    profdata: PathBuf,
}

/// `None` if the toolchain has them, where cargo-llvm-cov finds them by itself.
fn llvm() -> Result<Option<Llvm>> {
    if toolchain_has_llvm()? {
        return Ok(None);
    }
    let component = Command::new("rustup")
        .args(["component", "add", "llvm-tools"])
        .stdin(Stdio::null())
        .status();
    if component.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    // Debian's are as good, if they are of the version that the compiler writes for.
    let version = llvm_version()?;
    let debian = || {
        Some(Llvm {
            cov: find(&format!("llvm-cov-{version}"))?,
            profdata: find(&format!("llvm-profdata-{version}"))?,
        })
    };
    if debian().is_none() {
        setup::install_debian(&format!("llvm-{version}"));
    }
    debian().map(Some).ok_or_else(|| Error::Missing {
        what: format!("llvm-cov of LLVM {version}"),
        why: format!(
            "neither `rustup component add llvm-tools` nor the Debian package llvm-{version} could be installed"
        ),
    })
}

fn toolchain_has_llvm() -> Result<bool> {
    let libraries = stdout_of(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries).trim());
    Ok(libraries.with_file_name("bin").join("llvm-cov").is_file())
}

/// The major version of the compiler's LLVM.
fn llvm_version() -> Result<String> {
    let about = stdout_of(Command::new("rustc").arg("-vV"))?;
    let about = String::from_utf8_lossy(&about);
    about
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next())
        .map(str::to_owned)
        .ok_or_else(|| Error::Missing {
            what: String::from("the LLVM version"),
            why: String::from("`rustc -vV` does not say it"),
        })
}
