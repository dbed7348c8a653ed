//! What the tracer wrote: the functions of one program that ran.
//!
//! Of the format of Callgrind only names matter: `ob=(1) /path` says which program the following functions are of,
//! `fn=(2) name` that one of them ran. A name is given once, by a line of either kind or by one about a call
//! (`cob=`, `cfn=`); later its number stands for it.

use std::collections::{BTreeSet, HashMap};

/// The names of all functions of `program` that ran, as the linker knows them.
pub(super) fn functions(trace: &str, program: &str) -> BTreeSet<String> {
    let (mut programs, mut names) = (HashMap::new(), HashMap::new());
    let mut is_ours = false;
    let mut ran = BTreeSet::new();
    for line in trace.lines() {
        let Some((kind, said)) = line.split_once("=(") else {
            continue;
        };
        let Some((number, name)) = said.split_once(')') else {
            continue;
        };
        let known = match kind {
            "ob" | "cob" => &mut programs,
            "fn" | "cfn" => &mut names,
            _ => continue,
        };
        let name = name.trim_start();
        if !name.is_empty() {
            known.insert(number, name);
        }
        match kind {
            "ob" => is_ours = known.get(number) == Some(&program),
            "fn" if is_ours => ran.extend(known.get(number).copied()),
            _ => {}
        }
    }
    // Recursion and the like are told as `name'2`.
    let plain = |name: &str| name.split('\'').next().unwrap_or(name).to_owned();
    ran.into_iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_program_are_found_by_name_and_by_number() {
        let trace = "\
version: 1
ob=(1) /usr/lib/libc.so.6
fl=(1) ???
fn=(1) malloc
0 3
cob=(2) /bin/nexusd
cfn=(2) _ZN5nexus3app17h0123456789abcdefE
calls=1 0
0 9

ob=(2)
fn=(3) main
0 1
fn=(2)
0 4
cfn=(4) never
calls=1 0
0 2
fn=(5) walk'2
0 1

ob=(1)
fn=(6) free
0 1
";
        let ran = functions(trace, "/bin/nexusd");
        let ran: Vec<&str> = ran.iter().map(String::as_str).collect();
        assert_eq!(ran, ["_ZN5nexus3app17h0123456789abcdefE", "main", "walk"]);
        assert!(functions(trace, "/bin/other").is_empty());
    }
}
