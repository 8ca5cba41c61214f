//! The promises of `subprocess`: exit codes, output and input of any size, deadlines that hold.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{
    env,
    io::{self, Read, Seek, Write},
    thread,
};

use multiprocess::subprocess::{call, call_timeout, communicate, communicate_timeout};
use multiprocess::{Error, Queue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[macro_use]
mod support;

use support::{Child, NOW, SOON, all_end, has_program, is_gone, leaves_nothing, printed};

tests![
    call_gives_the_exit_code_or_minus_the_signal,
    call_shares_input_and_output_with_the_program,
    call_does_not_wait_for_what_the_program_left_running,
    r11_call_reads_a_pipe_that_nobody_asked_for,
    communicate_gives_output_errors_and_code,
    r11_input_and_output_of_64_mib_go_through_at_once,
    output_and_errors_of_any_size_are_read_at_once,
    a_program_that_does_not_read_its_input_is_no_error,
    a_program_that_closes_its_input_and_runs_on_is_no_error,
    communicate_leaves_a_stream_that_was_set,
    input_for_a_stream_that_was_set_is_refused,
    environment_and_folder_are_the_command_s,
    a_program_that_is_not_there_is_an_error_with_its_name,
    a_file_that_is_no_program_is_an_error,
    r23_a_deadline_holds_although_a_grandchild_has_the_pipe,
    a_deadline_kills_the_whole_group_and_gives_what_was_written,
    a_deadline_holds_for_a_program_that_is_never_silent,
    a_deadline_holds_for_a_program_that_does_not_read,
    a_deadline_holds_for_a_program_that_is_stopped,
    a_deadline_holds_although_a_grandchild_has_left_the_group,
    a_program_that_is_done_in_time_is_as_one_without_a_deadline,
    a_deadline_beyond_the_clock_is_none,
    a_program_with_a_deadline_dies_with_its_killed_caller,
    threads_may_run_programs_at_once,
    runs_of_all_kinds_leave_nothing,
];

fn main() {
    support::main(TESTS)
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn pids(lines: &[u8]) -> Vec<u32> {
    let lines = String::from_utf8_lossy(lines);
    let pid = |line: &str| line.parse().expect("the script prints process ids");
    lines.split_whitespace().map(pid).collect()
}

fn call_gives_the_exit_code_or_minus_the_signal() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", -9),
        ("kill -15 $$", -15),
        ("kill -40 $$", -40),
    ] {
        assert_eq!(call(&mut sh(script)).unwrap(), code, "{script}");
        assert_eq!(
            call_timeout(&mut sh(script), SOON).unwrap(),
            code,
            "{script}"
        );
        assert_eq!(
            communicate(&mut sh(script), b"").unwrap().code,
            code,
            "{script}"
        );
    }
}

fn call_shares_input_and_output_with_the_program() {
    let text = printed(|| {
        print!("before, ");
        assert_eq!(call(&mut sh("printf 'the program, '")).unwrap(), 0);
        print!("after");
    });
    assert_eq!(text, "before, the program, after");
}

fn call_does_not_wait_for_what_the_program_left_running() {
    let text = printed(|| {
        assert_eq!(call(&mut sh("sleep 600 & echo $!")).unwrap(), 0);
    });
    let left = pids(text.as_bytes());
    assert!(!is_gone(left[0]));
    kill(Pid::from_raw(left[0].cast_signed()), Signal::SIGKILL).unwrap();
    // Nor if it has a pipe that is read and thrown away.
    let mut piped = sh("sleep 600 & exit 3");
    piped.stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(call(&mut piped).unwrap(), 3);
}

/// Python: `wait()` for a program whose pipe is full never ends.
fn r11_call_reads_a_pipe_that_nobody_asked_for() {
    let mut noisy = sh("head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; exit 3");
    noisy.stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(call(&mut noisy).unwrap(), 3);
}

fn communicate_gives_output_errors_and_code() {
    let mut command = sh("read line; echo \"got $line\"; echo oops >&2; exit 5");
    let output = communicate(&mut command, b"input\n").unwrap();
    assert_eq!(output.stdout, b"got input\n");
    assert_eq!(output.stderr, b"oops\n");
    assert_eq!(output.code, 5);
}

/// Neither may wait for the other: `cat` stops reading when nobody reads from it.
fn r11_input_and_output_of_64_mib_go_through_at_once() {
    let input: Vec<u8> = (0..64 << 20).map(|n: u32| (n % 251) as u8).collect();
    let output = communicate(&mut Command::new("cat"), &input).unwrap();
    assert!(output.stdout == input);
    assert_eq!(output.code, 0);
    let output = communicate_timeout(&mut Command::new("cat"), &input, SOON).unwrap();
    assert!(output.stdout == input);
}

fn output_and_errors_of_any_size_are_read_at_once() {
    let script = "head -c 5000000 /dev/zero >&2; head -c 20000000 /dev/zero; echo end >&2";
    let output = communicate(&mut sh(script), b"").unwrap();
    assert_eq!(output.stdout.len(), 20_000_000);
    assert_eq!(output.stderr.len(), 5_000_004);
}

fn a_program_that_does_not_read_its_input_is_no_error() {
    let input = vec![b'x'; 16 << 20];
    assert_eq!(communicate(&mut sh("exit 0"), &input).unwrap().code, 0);
    let output = communicate(&mut sh("head -c 3; exit 4"), &input).unwrap();
    assert_eq!((output.stdout.as_slice(), output.code), (&b"xxx"[..], 4));
}

fn a_program_that_closes_its_input_and_runs_on_is_no_error() {
    let input = vec![b'x'; 16 << 20];
    let output = communicate(&mut sh("exec <&-; echo closed"), &input).unwrap();
    assert_eq!(output.stdout, b"closed\n");
}

fn communicate_leaves_a_stream_that_was_set() {
    let script = "cat; echo out; echo err >&2";
    let file = tempfile::tempfile().unwrap();
    let from = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    };
    // Arguments that look like what std says of a stream are none.
    let mut command = sh(script);
    command.args(["stdout: Some(", "stderr: Some(\n    Null"]);
    command.stderr(Stdio::null()).stdin(from("in\n"));
    let output = communicate(&mut command, b"").unwrap();
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b"in\nout\n"[..], &b""[..])
    );
    // The same command again.
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap());
    let output = communicate(&mut command, b"").unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b""[..]));
    let mut text = String::new();
    (&file).rewind().unwrap();
    (&file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n");
    let all = communicate(&mut sh(script), b"in\n").unwrap();
    assert_eq!(
        (&*all.stdout, &*all.stderr),
        (&b"in\nout\n"[..], &b"err\n"[..])
    );
    let printed = printed(|| {
        let mut command = sh(script);
        let output = communicate(command.stdout(Stdio::inherit()), b"").unwrap();
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b""[..], &b"err\n"[..])
        );
    });
    assert_eq!(printed, "out\n");
}

fn input_for_a_stream_that_was_set_is_refused() {
    let mut command = Command::new("cat");
    let refused = communicate(command.stdin(Stdio::null()), b"in").unwrap_err();
    assert!(
        refused.to_string().contains("give input to `cat`"),
        "{refused}"
    );
}

fn environment_and_folder_are_the_command_s() {
    let mut command = sh("echo $GREETING; pwd");
    command.env("GREETING", "hello").current_dir("/");
    assert_eq!(
        communicate(&mut command, b"").unwrap().stdout,
        b"hello\n/\n"
    );
}

fn a_program_that_is_not_there_is_an_error_with_its_name() {
    let absent = || Command::new("no-such-program");
    for error in [
        call(&mut absent()).unwrap_err(),
        call_timeout(&mut absent(), SOON).unwrap_err(),
        communicate(&mut absent(), b"x").unwrap_err(),
        communicate_timeout(&mut absent(), b"x", SOON).unwrap_err(),
    ] {
        assert!(
            error.to_string().contains("run `no-such-program`"),
            "{error}"
        );
        let Error::Os { errno, .. } = error else {
            panic!("another error: {error}");
        };
        assert_eq!(errno, Some(nix::libc::ENOENT));
    }
}

fn a_file_that_is_no_program_is_an_error() {
    let error = call(&mut Command::new("/dev/null")).unwrap_err();
    assert!(error.to_string().contains("run `/dev/null`"), "{error}");
}

/// Python: after `communicate(timeout=1)` and `kill()`, `communicate()` waits until the pipe's last
/// holder has ended.
fn r23_a_deadline_holds_although_a_grandchild_has_the_pipe() {
    let begin = Instant::now();
    let mut command = sh("echo begun; sleep 4 | cat");
    let outcome = communicate_timeout(&mut command, b"", Duration::from_secs(1));
    let took = begin.elapsed();
    let Err(Error::TimeoutExpired {
        stdout, timeout, ..
    }) = outcome
    else {
        panic!("another outcome: {outcome:?}");
    };
    assert_eq!(
        (stdout.as_slice(), timeout),
        (&b"begun\n"[..], Duration::from_secs(1))
    );
    // Wide enough for a busy machine, and well before the sleep is over.
    assert!(took < Duration::from_millis(3_500), "{took:?}");
}

fn a_deadline_kills_the_whole_group_and_gives_what_was_written() {
    let script = "trap '' TERM HUP INT
        sleep 600 & echo $!
        sh -c 'sleep 600 & echo $!; echo oops >&2; wait' &
        echo $! $$; wait";
    // Until all have told who they are; the deadline is then that of the last try.
    for millis in [100, 500, 2_500, 12_500] {
        let timeout = Duration::from_millis(millis);
        let outcome = communicate_timeout(&mut sh(script), b"", timeout);
        let Err(Error::TimeoutExpired {
            program,
            stdout,
            stderr,
            ..
        }) = outcome
        else {
            panic!("another outcome: {outcome:?}");
        };
        assert_eq!(program, "sh");
        let told = pids(&stdout);
        assert!(
            told.iter().all(|&pid| is_gone(pid)),
            "it runs on after the error"
        );
        if told.len() == 4 && stderr == b"oops\n" {
            return;
        }
    }
    panic!("the script does not come so far");
}

fn a_deadline_holds_for_a_program_that_is_never_silent() {
    let outcome = communicate_timeout(&mut Command::new("yes"), b"", NOW);
    let Err(Error::TimeoutExpired { stdout, .. }) = outcome else {
        panic!("it never ends");
    };
    assert!(stdout.chunks_exact(2).all(|line| line == b"y\n"));
    let mut thrown_away = Command::new("yes");
    let outcome = call_timeout(thrown_away.stdout(Stdio::piped()), NOW);
    assert!(matches!(outcome, Err(Error::TimeoutExpired { stdout, .. }) if stdout.is_empty()));
}

fn a_deadline_holds_for_a_program_that_does_not_read() {
    let input = vec![0; 16 << 20];
    let outcome = communicate_timeout(&mut sh("sleep 600"), &input, NOW);
    assert!(matches!(outcome, Err(Error::TimeoutExpired { .. })));
}

fn a_deadline_holds_for_a_program_that_is_stopped() {
    let outcome = call_timeout(&mut sh("kill -STOP $$"), Duration::from_millis(100));
    assert!(matches!(outcome, Err(Error::TimeoutExpired { .. })));
}

/// Nobody can say whose it is then, so it lives; its pipe is not waited for.
fn a_deadline_holds_although_a_grandchild_has_left_the_group() {
    if !has_program("setsid") {
        return;
    }
    let script = "setsid sh -c 'echo $$; exec sleep 600' & wait";
    for millis in [100, 500, 2_500, 12_500] {
        let outcome = communicate_timeout(&mut sh(script), b"", Duration::from_millis(millis));
        let Err(Error::TimeoutExpired { stdout, .. }) = outcome else {
            panic!("another outcome: {outcome:?}");
        };
        if let [stray] = pids(&stdout)[..] {
            assert!(!is_gone(stray));
            kill(Pid::from_raw(stray.cast_signed()), Signal::SIGKILL).unwrap();
            return;
        }
    }
    panic!("the script does not come so far");
}

fn a_program_that_is_done_in_time_is_as_one_without_a_deadline() {
    let output = communicate_timeout(&mut sh("cat; exit 6"), b"text", SOON).unwrap();
    assert_eq!(
        output,
        communicate(&mut sh("cat; exit 6"), b"text").unwrap()
    );
    assert_eq!((output.stdout.as_slice(), output.code), (&b"text"[..], 6));
}

fn a_deadline_beyond_the_clock_is_none() {
    assert_eq!(call_timeout(&mut sh("exit 3"), Duration::MAX).unwrap(), 3);
    let late = call_timeout(&mut sh("sleep 600"), Duration::ZERO);
    assert!(matches!(late, Err(Error::TimeoutExpired { .. })));
}

fn a_program_with_a_deadline_dies_with_its_killed_caller() {
    let (mut read, write) = io::pipe().unwrap();
    let caller = Child::fork(|| {
        let mut command = sh("echo $$; exec sleep 600");
        let _ = call_timeout(command.stdout(write.try_clone().unwrap()), SOON * 10);
    });
    drop(write);
    let mut line = [0; 16];
    let len = io::Read::read(&mut read, &mut line).unwrap();
    let program = pids(&line[..len]);
    assert!(!is_gone(program[0]));
    caller.kill();
    all_end(&program);
}

fn threads_may_run_programs_at_once() {
    let done = Queue::new().unwrap();
    thread::scope(|scope| {
        for n in 0..8u8 {
            let done = &done;
            scope.spawn(move || {
                let input = vec![n; 300_000];
                let output = communicate_timeout(&mut Command::new("cat"), &input, SOON).unwrap();
                assert!(output.stdout == input);
                done.put(&n).unwrap();
            });
        }
    });
    assert_eq!(done.len(), 8);
}

fn runs_of_all_kinds_leave_nothing() {
    let folder = env::temp_dir();
    leaves_nothing(20, || {
        call(&mut sh("exit 1")).unwrap();
        communicate(&mut sh("cat"), b"text").unwrap();
        communicate_timeout(&mut sh("cat"), b"text", SOON).unwrap();
        let millis = Duration::from_millis(5);
        let _ = communicate_timeout(&mut sh("sleep 600 | cat"), b"", millis);
        let _ = call_timeout(&mut sh("sleep 600"), millis);
        assert!(call(&mut Command::new("no-such-program")).is_err());
        assert!(communicate(Command::new("cat").current_dir(folder.join("absent")), b"").is_err());
    });
}
