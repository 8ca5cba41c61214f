//! `In [1]`: one call, two returns.
#![expect(unsafe_code, reason = "fork is the subject of this cell")]

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getpid, getppid};

fn main() -> nix::Result<()> {
    println!("Process ({}) start...", getpid());
    // SAFETY: this program has one thread, so the child may go on as any program does.
    match unsafe { fork() }? {
        ForkResult::Child => {
            println!(
                "I am child process ({}) and my parent is {}",
                getpid(),
                getppid()
            );
        }
        ForkResult::Parent { child } => {
            println!("I ({}) just created a child process ({child}).", getpid());
            // A parent that leaves first makes its child an orphan, with another parent.
            waitpid(child, None)?;
        }
    }
    Ok(())
}
