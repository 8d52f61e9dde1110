//! The demo as somebody runs it who then tries what it invites to: a daemon of it is killed while it stays up.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ends with the test, its daemons with it.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that was started with this file as an argument.
fn daemon_of(config: &Path) -> Option<u32> {
    let config = config.to_str()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let command_line = fs::read(entry.path().join("cmdline")).ok()?;
        let mut arguments = command_line.split(|byte| *byte == 0);
        arguments
            .any(|argument| argument == config.as_bytes())
            .then(|| entry.file_name().to_str()?.parse().ok())?
    })
}

fn send(signal: Signal, pid: u32) {
    let pid = Pid::from_raw(pid.try_into().expect("a process id fits"));
    kill(pid, signal).expect("it runs and is ours");
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The demo once ended all of its daemons when one of them was killed.
#[test]
fn a_daemon_that_is_killed_while_the_demo_stays_up_comes_back_and_the_others_live_on() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let child = Command::new(env!("CARGO_BIN_EXE_hesuand"))
        .args(["demo", "--data"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut demo = Demo(child);
    let output = BufReader::new(demo.0.stdout.take().expect("it is piped"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let says = |text: &str| {
        until(text, || {
            let line = lines.recv_timeout(Duration::from_secs(60)).expect("the demo goes on");
            line.contains(text).then_some(line)
        })
    };

    let checks = says("checks hold");
    let mut counts = checks.split_whitespace();
    assert_eq!(counts.next(), counts.nth(1), "{checks}");
    says("Ctrl-C ends it");
    let daemon = |city: &str| daemon_of(&dir.path().join(format!("{city}.toml")));
    let before = ["songjiang", "hangzhou", "hefei"].map(|city| daemon(city).expect("it runs"));
    send(Signal::SIGKILL, before[2]);
    let said = says("the daemon of hefei ended");
    assert!(said.contains("it is started again"), "{said}");
    let again = until("another daemon of hefei", || {
        daemon("hefei").filter(|pid| *pid != before[2])
    });
    assert_eq!(
        [daemon("songjiang"), daemon("hangzhou"), daemon("hefei")],
        [Some(before[0]), Some(before[1]), Some(again)]
    );
    send(Signal::SIGTERM, demo.0.id());
    assert!(demo.0.wait().expect("it ends").success());
    assert_eq!([daemon("songjiang"), daemon("hangzhou"), daemon("hefei")], [None; 3]);
}
